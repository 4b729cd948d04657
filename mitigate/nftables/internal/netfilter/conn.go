// Package netfilter speaks the kernel's nf_tables protocol (nfnetlink, as in
// include/uapi/linux/netfilter/nf_tables.h): as much of it as package nftables needs.
//
// A [Conn] is a netlink socket for one exchange at a time and one goroutine. A [Batch]
// gathers orders that the kernel carries out together or not at all; the methods that
// list read what there is. Answers are bounded in time, and everything that is read of
// them is checked for its length: what does not fit is left out.
//
// It has no memory of what it did and starts no goroutines.
package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// buffers are the sizes asked of a socket, octets: a batch has to fit the one for
// sending, the answers to its messages the other.
const buffers = 8 << 20

// maxDumps is how often a list is asked for again that changed while it was read.
const maxDumps = 4

// maxReply bounds one datagram of an answer, octets; the kernel makes them of 32 KiB.
const maxReply = 256 << 10

// Conn is a socket to nf_tables of the network namespace that it was opened in.
type Conn struct {
	fd       int
	sequence uint32
	buffer   []byte
}

// Dial opens a socket whose reads and writes take at most the timeout each.
func Dial(timeout time.Duration) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	c := &Conn{fd: fd, buffer: make([]byte, maxReply)}
	limit := unix.NsecToTimeval(max(timeout, time.Millisecond).Nanoseconds())
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		// Errors come without the message that they are about.
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up netlink socket: %w", err), c.Close())
	}
	// Without the privilege the orders will say so.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, buffers)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffers)
	return c, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// messageType is the type of a message of nf_tables.
func messageType(kind uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | kind }

// appendMessage appends a message: struct nlmsghdr, struct nfgenmsg, attributes.
func appendMessage(b []byte, kind, flags uint16, sequence uint32, family uint8, resource uint16, attributes []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.NLMSG_HDRLEN+4+len(attributes)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, sequence)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, family, 0)
	b = binary.BigEndian.AppendUint16(b, resource)
	return append(b, attributes...) // of a multiple of 4 octets
}

func (c *Conn) send(b []byte) error {
	if err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("send to nf_tables", err)
	}
	return nil
}

// reply is one message of an answer.
type reply struct {
	kind, flags uint16
	sequence    uint32
	body        []byte
}

// receive reads one datagram from the kernel. What it returns is valid until the next.
func (c *Conn) receive() ([]reply, error) {
	for {
		n, from, err := unix.Recvfrom(c.fd, c.buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("receive from nf_tables", err)
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
			continue // another process
		}
		return replies(c.buffer[:n]), nil
	}
}

// replies cuts a datagram into its messages.
func replies(b []byte) (all []reply) {
	for len(b) >= unix.NLMSG_HDRLEN {
		length := int(binary.NativeEndian.Uint32(b))
		if length < unix.NLMSG_HDRLEN || length > len(b) {
			return all
		}
		all = append(all, reply{
			kind: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
			sequence: binary.NativeEndian.Uint32(b[8:]), body: b[unix.NLMSG_HDRLEN:length],
		})
		b = b[min((length+3)&^3, len(b)):]
	}
	return all
}

// errno is the error of a message NLMSG_ERROR, nil in an acknowledgement.
func (r *reply) errno() error {
	if len(r.body) < 4 {
		return unix.EBADMSG
	}
	if n := int32(binary.NativeEndian.Uint32(r.body)); n != 0 {
		return unix.Errno(-n)
	}
	return nil
}

// ask sends a request and hands each message of the answer to take. With dump it asks for
// a list, and from the beginning again if that changed meanwhile: again is called first.
func (c *Conn) ask(kind uint16, family uint8, attributes []byte, dump bool, again func(), take func(attributes []byte)) error {
	for range maxDumps {
		c.sequence++
		flags := uint16(unix.NLM_F_REQUEST)
		if dump {
			flags |= unix.NLM_F_DUMP
		} else {
			flags |= unix.NLM_F_ACK
		}
		if err := c.send(appendMessage(nil, messageType(kind), flags, c.sequence, family, 0, attributes)); err != nil {
			return err
		}
		again()
		whole, err := c.answer(take)
		if err != nil || whole {
			return err
		}
	}
	return fmt.Errorf("list of nf_tables changed %d times while it was read: %w", maxDumps, unix.EINTR)
}

// answer reads to the end of the answer to the last request; whole is false of a list that
// changed on the way.
func (c *Conn) answer(take func(attributes []byte)) (whole bool, err error) {
	whole = true
	for {
		all, err := c.receive()
		if err != nil {
			return false, err
		}
		for i := range all {
			r := &all[i]
			if r.sequence != c.sequence {
				continue // of a request that was given up
			}
			whole = whole && r.flags&unix.NLM_F_DUMP_INTR == 0
			switch r.kind {
			case unix.NLMSG_DONE:
				return whole, nil
			case unix.NLMSG_ERROR:
				return whole, r.errno()
			}
			if len(r.body) >= 4 {
				take(r.body[4:]) // behind struct nfgenmsg
			}
		}
	}
}
