// Echo UDP. Each answer is the tenant's whose datagram it answers, as XDP says.
//
//	pktmeta gen go ../edge.toml -o pktmeta && go run ./udp 192.0.2.2:7000
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"syscall"
	"unsafe"

	"example.org/echo/pktmeta"
)

// Linux has it on most machines, package syscall does not.
const soRcvmark = 75

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintf(os.Stderr, "usage: %s ADDRESS:PORT\n", os.Args[0])
		os.Exit(2)
	}
	// Before the socket is bound, so that the first datagram has a ticket.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return askForTickets(raw)
	}}
	packets, err := config.ListenPacket(context.Background(), "udp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	socket := packets.(*net.UDPConn)
	raw, err := socket.SyscallConn()
	if err != nil {
		log.Fatal(err)
	}
	host, err := pktmeta.NewRegistry(raw)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening")
	for {
		if err := echo(socket, raw, host); err != nil {
			log.Print(err)
		}
	}
}

// askForTickets has the datapath put tickets into marks, and the kernel hand them over.
func askForTickets(raw syscall.RawConn) (err error) {
	controlled := raw.Control(func(descriptor uintptr) {
		fd := int(descriptor)
		if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soRcvmark, 1); err == nil {
			err = syscall.SetsockoptInt(fd, pktmeta.SOL_PKTMETA, pktmeta.PKTMETA_TICKETS, pktmeta.PKTMETA_TICKETS_MARK)
		}
	})
	if controlled != nil {
		return controlled
	}
	return err
}

// echo answers one datagram. What is wrong with its metadata is no reason not to.
func echo(socket *net.UDPConn, raw syscall.RawConn, host *pktmeta.Registry) error {
	payload, control := make([]byte, 2048), make([]byte, 64)
	length, controlLength, _, peer, err := socket.ReadMsgUDPAddrPort(payload, control)
	if err != nil {
		return err
	}
	tenant, err := tenantOf(control[:controlLength], raw, host)
	if err != nil {
		fmt.Printf("%v: tenant None, %v\n", peer.Addr().Unmap(), err)
		_, err = socket.WriteToUDPAddrPort(payload[:length], peer)
		return err
	}
	fmt.Printf("%v: tenant %d\n", peer.Addr().Unmap(), tenant)
	var labelled []byte
	ticket := pktmeta.PKTMETA_TX_TICKET + tenant%(1<<24) // any number of 24 bits will do
	if label(ticket, tenant, raw, host) == nil {
		labelled = toSend(ticket)
	}
	_, _, err = socket.WriteMsgUDPAddrPort(payload[:length], labelled, peer)
	return err
}

// tenantOf says whose a datagram is, by its control messages. The errors: syscall.ENODATA, nobody said so;
// ESTALE, we were too slow; others, there is no datapath for now.
func tenantOf(control []byte, raw syscall.RawConn, host *pktmeta.Registry) (uint32, error) {
	ticket, err := received(control)
	if err != nil {
		return 0, err
	}
	if ticket == 0 {
		// The datapath is another: it does not know this socket.
		if err := askForTickets(raw); err != nil {
			return 0, err
		}
		return 0, syscall.ENODATA
	}
	record, err := host.Read(raw, pktmeta.SOL_PKTMETA_DGRAM, int(ticket))
	if err != nil {
		return 0, err
	}
	tenant, known := pktmeta.EdgeTenant.Get(record)
	if !known {
		return 0, syscall.ENODATA
	}
	return tenant, nil
}

// label makes the record of answers that are a tenant's.
func label(ticket, tenant uint32, raw syscall.RawConn, host *pktmeta.Registry) error {
	answer, err := host.Record(raw)
	if err != nil {
		return err
	}
	if err := pktmeta.EdgeTenant.Set(answer, tenant); err != nil {
		return err
	}
	if err := pktmeta.EdgeClass.Set(answer, pktmeta.EdgeClassInteractive); err != nil {
		return err
	}
	return host.Write(raw, pktmeta.SOL_PKTMETA_DGRAM, int(ticket), answer)
}

// received is the ticket in the control messages of a datagram that arrived.
func received(control []byte) (uint32, error) {
	messages, err := syscall.ParseSocketControlMessage(control)
	for _, message := range messages {
		header := message.Header
		if header.Level == syscall.SOL_SOCKET && header.Type == syscall.SO_MARK {
			return *(*uint32)(unsafe.Pointer(&message.Data[0])), nil
		}
	}
	return 0, err
}

// toSend is the control message of a datagram with this ticket. It needs CAP_NET_RAW.
func toSend(ticket uint32) []byte {
	control := make([]byte, syscall.CmsgSpace(4))
	header := (*syscall.Cmsghdr)(unsafe.Pointer(&control[0]))
	header.Level, header.Type = syscall.SOL_SOCKET, syscall.SO_MARK
	header.SetLen(syscall.CmsgLen(4))
	*(*uint32)(unsafe.Pointer(&control[syscall.CmsgLen(0)])) = ticket
	return control
}
