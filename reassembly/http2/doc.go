// Package http2 reads HTTP/2 connections (RFC 9113) from the octets of their two
// directions, as they come: begun with prior knowledge, inside TLS, or after an
// upgrade from HTTP/1.1; seen from the first octet, or joined in the middle.
//
// A [Conn] is the state of one connection. A [Reader] is what all connections of
// a worker share: the event at hand and buffers to be used again. Feed a segment
// of either side with Conn.Read until it says [More]:
//
//	for {
//		switch c.Read(r, budget, side, &in) {
//		case http2.More:
//			return
//		case http2.Head: // r.Stream, r.Side, r.Head: a request's or a response's
//		case http2.End: // r.Body and r.Trailers too
//		case http2.Tunnel: // r.Data: octets that a CONNECT stream carries
//		case http2.Closed: // the last event of r.Stream
//		case http2.Lost: // this is not HTTP/2
//		}
//	}
//
// # Events
//
// Every stream that has a Head is Closed at last, whatever ends it, and no other;
// Reader.Reason says what. In between, each message that has a Head has an End,
// unless memory was short. Heads of interim responses (1xx) have no End, and those
// of unknown status may have been interim: the last Head before the End is the
// response's.
// A pushed request is a request of its stream, with [Stream.Push] set; it ends at
// once. A response normally comes after the request that it answers; where the
// directions race, or the request was lost, it comes first or alone; after the
// Closed there may then be a Head again, of the request that comes late, or where
// the server says more.
// On a stream that CONNECT made a tunnel (RFC 9113 section 8.5, RFC 8441) both
// messages end, without content, when the 2xx comes; Tunnel events follow.
//
// # Memory
//
// Head, Body, Trailers and Data are views, valid until the next call for any Conn
// of the Reader, those of a Head until after the End if that comes next. What
// must live longer is copied and charged to a Budget with the streams and the
// tables of the header compression; the Conn itself is charged by its owner. Where
// there is no room for a stream, the one idle longest is closed for it. Bounds:
// header block 64 KiB as sent and 64 KiB as decoded, 256 fields, compression table 64
// KiB, 2048 streams (the one idle longest is closed for a new one). Of a longer block
// the rest is read, as it comes, for the entries that it makes in the table, unless
// a frame of it is itself longer. Frames of other kinds are read from their first 192
// octets, DATA as it comes; no length that a frame claims is allocated.
//
// # Header compression
//
// HPACK (RFC 7541) is decoded by a decoder that goes on without the whole table,
// which golang.org/x/net/http2/hpack can't; of that package it has the Huffman
// code, and the tests hold the two against each other. Where octets are missing,
// or the beginning was not seen, the table is not known from there on. Fields
// that need unknown entries are left out and counted in [Message.Unknown]; those
// given literally, by the static table, or by entries made since, are read as
// ever. A method or a target that is not known is nil, a status 0.
//
// # Missing octets
//
// Conn.Missing tells of octets that never come. Within DATA they cost only
// themselves, within other frames only that frame and, if it was a header block,
// the compression table. Beyond the frame at hand, the next segment is taken for
// a frame boundary if it proves it: it must be a chain of frames that make sense
// on this connection and that ends with the segment, or goes on beyond it after
// at least two frames or a readable header block. Messages whose end may have
// been lost are Broken, unless their Content-Length says that nothing is missing;
// their streams are closed when nothing was heard of them for 30 s.
//
// What a header block that was lost would have said is not guessed: its message
// has neither Head nor End. Flow control and priorities are not followed; what tells
// programs apart of them, Conn.Settings and Conn.Window, is kept for fingerprints.
package http2
