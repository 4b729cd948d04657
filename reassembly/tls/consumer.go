package tls

import (
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls/hello"
)

// Input is what is left of a segment. Conn.Read takes from its front.
type Input struct {
	Data []byte
	tcp.Position
}

func (in *Input) skip(n int) {
	in.Data = in.Data[n:]
	in.Seq += uint32(n)
}

// Plain is the content of a record of application data, or what is left of it.
type Plain struct {
	Data         []byte // never empty; valid until the Consumer returns
	tcp.Position        // of the record's first octet on the wire
	Last         bool   // the consumer has to take all of it
}

// Consumer takes what a connection says. Its methods must not call the Conn.
type Consumer interface {
	// ClientHello hands on the first ClientHello, the one that the server asks
	// for with a HelloRetryRequest, and those of renegotiations. It is valid
	// until the consumer returns.
	ClientHello(h *hello.Client)
	// ServerHello hands on the first ServerHello that is no HelloRetryRequest.
	// It is valid until the consumer returns.
	ServerHello(h *hello.Server)
	// Plain hands on authenticated octets and returns how many were taken. If
	// fewer than all, the rest is kept and offered again by the next Read of
	// that direction, which takes no input before.
	Plain(client bool, p *Plain) int
	// Gap says that at most n octets of the plaintext are missing here; exact
	// says that it is just as many.
	Gap(client bool, n int64, exact bool)
	// End says that the direction said its last: clean with close_notify, else
	// with a fatal alert. Nothing else follows.
	End(client bool, clean bool)
}
