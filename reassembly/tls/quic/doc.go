// Package quic reads the ClientHello from QUIC Initial packets.
//
// Initial packets are protected with keys that follow from the connection id in
// them (RFC 9001 section 5.2): whoever sees the first datagram can read it. A
// Tracker takes the UDP payloads of both directions, opens what a client sent
// under versions 1 and 2 (RFC 9369) and drafts 29 to 34, puts the CRYPTO frames
// of several packets together (RFC 9000 section 19.6), and hands out the
// ClientHello once (after a Retry the client says it again, and so does the
// Tracker). It reads nothing else of QUIC.
//
// # Memory
//
// A Tracker belongs to one goroutine. State is made only for packets that
// authenticate. It remembers Config.MaxConnections of them, those that have said
// their hello too, so that it is not said twice; and it holds
// Config.MaxOctets of hellos that are not complete. Beyond either the oldest
// connection is forgotten. A hello is read up to hello.MaxMessage octets, from at
// most maxFragments pieces.
package quic
