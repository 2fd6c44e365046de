// Echo TCP. What is answered is the tenant's that opened the connection, as XDP says.
//
//	pktmeta gen go ../edge.toml -o pktmeta && go run ./tcp 192.0.2.2:7000
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"syscall"

	"example.org/echo/pktmeta"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintf(os.Stderr, "usage: %s ADDRESS:PORT\n", os.Args[0])
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		log.Fatal(err)
	}
	host, err := pktmeta.NewRegistry(raw)
	if err != nil {
		log.Fatal(err)
	}
	// The connections that it accepts have this selection too.
	if err := selectFields(host, raw); err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening")
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer connection.Close()
			if err := serve(connection.(*net.TCPConn), host, raw); err != nil {
				log.Print(err)
			}
		}()
	}
}

func selectFields(host *pktmeta.Registry, raw syscall.RawConn) error {
	return host.Select(raw, pktmeta.EdgeTenant, pktmeta.EdgeClass, pktmeta.RxIfindex)
}

func serve(connection *net.TCPConn, host *pktmeta.Registry, listener syscall.RawConn) error {
	peer := connection.RemoteAddr().(*net.TCPAddr).IP
	raw, err := connection.SyscallConn()
	if err != nil {
		return err
	}
	tenant, said, err := tenantOf(raw, host, listener)
	if err == nil {
		// From now on, what this socket sends is this tenant's.
		err = pktmeta.EdgeTenant.Setsockopt(host, raw, pktmeta.PKTMETA_TX_FIELD, tenant)
	}
	if errors.Is(err, syscall.ENODATA) {
		said = "no record"
	} else if err != nil {
		// There is no datapath for now, which is no reason not to serve.
		said = err.Error()
	}
	fmt.Printf("%v: %s\n", peer, said)
	_, err = io.Copy(connection, connection)
	return err
}

// tenantOf asks in three ways whose a connection is. The error is syscall.ENODATA if nobody said so.
func tenantOf(raw syscall.RawConn, host *pktmeta.Registry, listener syscall.RawConn) (uint32, string, error) {
	// All that came with the SYN.
	syn, err := host.Read(raw, pktmeta.SOL_PKTMETA, pktmeta.PKTMETA_RX_SYN)
	if err != nil {
		return 0, "", err
	}
	tenant, _ := pktmeta.EdgeTenant.Get(syn)
	// One field of it, without the others.
	alone, err := pktmeta.EdgeTenant.Getsockopt(host, raw, pktmeta.PKTMETA_RX_SYN_FIELD)
	if err != nil {
		return 0, "", err
	}
	// The selected ones.
	values, err := host.ReadSelected(raw, pktmeta.SOL_PKTMETA, pktmeta.PKTMETA_RX_SYN_FIELDS)
	if errors.Is(err, syscall.ENODATA) {
		// A datapath that came since then knows of no selection.
		for _, socket := range []syscall.RawConn{listener, raw} {
			if err := selectFields(host, socket); err != nil {
				return 0, "", err
			}
		}
		values, err = host.ReadSelected(raw, pktmeta.SOL_PKTMETA, pktmeta.PKTMETA_RX_SYN_FIELDS)
	}
	if err != nil {
		return 0, "", err
	}
	selected, _ := pktmeta.EdgeTenant.Get(values)
	class := "None"
	if value, ok := pktmeta.EdgeClass.Get(values); ok {
		class = fmt.Sprint(value)
	}
	ifindex, _ := pktmeta.RxIfindex.Get(values)
	said := fmt.Sprintf("tenant %d; alone %d; selected %d, %s, interface %d",
		tenant, alone, selected, class, ifindex)
	return alone, said, nil
}
