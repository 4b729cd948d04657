// Package tls reads TLS connections from outside: it makes of the octets of both
// directions the hellos, and, where the secrets are there, the plaintext.
//
// A Conn is the state of one connection. It begins with the first octet of the
// first record, wherever that stands (Looks tells): at the start of the
// connection, or after CONNECT, a SOCKS handshake or a PROXY header. A Reader is
// what all connections of a worker share. The owner gives each direction's octets
// in order to Conn.Read, says with Conn.Missing what never comes, and gets what
// was said through its Consumer:
//
//	c.Read(r, budget, client, &in, last, consumer)
//	if c.Status() == tls.Opaque { // nothing more to learn
//		c.Close(r, budget, consumer)
//		ignore the connection
//	}
//
// Sub-packages hold the hellos with JA3 and JA4 (hello), the secrets of key logs
// (keylog), and the hellos of QUIC (quic).
//
// # What is decrypted
//
// TLS 1.0 to 1.3 with the secrets of a key log: all suites of TLS 1.3 and, before
// it, AES in GCM, CCM and CBC (with encrypt-then-MAC, RFC 7366, or without),
// ChaCha20-Poly1305, 3DES and RC4; key updates, 0-RTT data that the server
// accepts, HelloRetryRequest, resumption, renegotiation. With the server's private
// key: RSA key exchange up to TLS 1.2, with the extended master secret (RFC 7627)
// or without. Resumption up to TLS 1.2 is not logged by all clients: Sessions
// remembers the master secrets, whichever way they were found.
//
// Not: SSL 3.0 and older, drafts of TLS 1.3, compression, Camellia, ARIA, SEED,
// DTLS. Of those the hellos are read, also in the form of SSL 2.0. A connection
// that was joined after its hellos, or of which octets of a hello are missing,
// can't be decrypted: secrets are filed under the client's random.
//
// Only octets that authenticate are handed on. A wrong secret gives nothing.
//
// # Missing octets
//
// A record of which octets are missing is lost; the numbers of those after it are
// known as long as record headers are. Where they are not, the next octets that
// look like a record are tried under the numbers that may be theirs (at most
// maxWindow), and under the keys that follow, as a key update or the end of the
// handshake may be among what is missing; the tag proves which are right. What
// that costs is bounded by maxTries and maxSought, then the direction is given
// up. Consumer.Gap says how much plaintext is missing: exactly, for a record of
// an AEAD or stream suite before TLS 1.3 whose header was seen; otherwise at most,
// as padding and the content type are encrypted.
//
// # Secrets that come late
//
// A live key log is written while the handshake runs. Records wait for their
// secret, at most Config.Hold octets of a connection, for Config.Wait of event
// time; those that find no room are lost, alone. They are taken up again by the
// next Read of either direction, or by Retry; and come out in the order in which
// the peers said them, with the position that they had. 0-RTT data wait for the
// server's word whether it accepts them.
//
// # Memory
//
// Records within one segment are opened from there, into a buffer of the Reader;
// records and hellos that span segments are copied, and so are those that wait:
// all that is charged to the Budget, with what is kept of a handshake and the keys; the
// Conn itself is charged by its owner. A hello is at most hello.MaxMessage octets,
// and nothing is allocated by a length that is claimed. Opening a record
// allocates nothing. A Conn that is Opaque holds nothing but itself.
//
// # Concurrency and order
//
// A Conn and its Reader belong to one goroutine. Secrets, ServerKeys and Sessions
// are shared. Whether a session that was begun on one worker is found by another
// depends on which is first; with one worker the same input gives the same output.
package tls
