// Connect as tenant 9, from the SYN on, then send as tenant 10.
//
//	pktmeta gen go ../edge.toml -o pktmeta && go run ./connect 192.0.2.1:7000
package main

import (
	"fmt"
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
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(address string) error {
	var host *pktmeta.Registry
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if host, err = pktmeta.NewRegistry(raw); err != nil {
			return err
		}
		record, err := host.Record(raw)
		if err != nil {
			return err
		}
		if err := pktmeta.EdgeTenant.Set(record, 9); err != nil {
			return err
		}
		if err := pktmeta.EdgeClass.Set(record, pktmeta.EdgeClassBulk); err != nil {
			return err
		}
		return host.Write(raw, pktmeta.SOL_PKTMETA, pktmeta.PKTMETA_TX, record)
	}}
	connection, err := dialer.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer connection.Close()
	raw, err := connection.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	if _, err := connection.Write(make([]byte, 100)); err != nil {
		return err
	}
	if _, err := connection.Read(make([]byte, 1)); err != nil {
		return err
	}
	err = pktmeta.EdgeTenant.Setsockopt(host, raw, pktmeta.PKTMETA_TX_FIELD, 10)
	if err != nil {
		return err
	}
	if _, err := connection.Write(make([]byte, 1000)); err != nil {
		return err
	}
	sent, err := host.Read(raw, pktmeta.SOL_PKTMETA, pktmeta.PKTMETA_TX)
	if err != nil {
		return err
	}
	tenant, _ := pktmeta.EdgeTenant.Get(sent)
	class, _ := pktmeta.EdgeClass.Get(sent)
	fmt.Printf("tenant %d, %v\n", tenant, class)
	return nil
}
