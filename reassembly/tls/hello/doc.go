// Package hello reads the hellos of TLS, and makes fingerprints of them.
//
// ParseClient and ParseServer take the body of a handshake message (RFC 8446
// section 4, RFC 5246 section 7.4.1), ParseSSLv2 a hello in the form of SSL 2.0
// (RFC 5246 appendix E.2). They never fail on bytes: what can't be read to its
// end is Malformed, and holds what came before.
//
// # Memory
//
// The structs are filled in place and may be used again; their slices of octets
// are views into the message, those of numbers belong to the struct. A message
// is at most [MaxMessage] octets; nothing is allocated by a length that it claims.
//
// # Fingerprints
//
// Client.AppendJA3 and Client.AppendJA4 write JA3 and JA4 (the fingerprint of TLS
// clients alone; its specification is under the BSD licence). Values reserved by
// RFC 8701 (GREASE) take no part in either. A hello in the form of SSL 2.0 has
// neither.
package hello
