// Package http1 reads HTTP/1 messages from the octets of one direction of a
// connection, as they come (RFC 9112, with the leniency that real servers and
// clients show; what leniency was needed is an anomaly of the message).
//
// A [Parser] is the state of one direction, a few dozen octets while no message
// spans segments. A [Reader] is what all parsers of a worker share: the views
// of the message at hand and the buffers of those that are unfinished. Feed a
// segment with Parser.Read until it says [More]:
//
//	for {
//		switch p.Read(r, &in) {
//		case http1.More:
//			return
//		case http1.Head: // r.Head is set; for a response say what it answers
//		case http1.End: // r.Head and r.Body are set
//		case http1.Lost: // what follows is no message
//		}
//	}
//
// # Memory
//
// A message within one segment is never copied: Head and Body are views into
// it. Of one that spans segments the head, and the first octets of the body up to
// the limit, are kept in buffers that are charged to a Budget and given back at
// its end. All views are valid until the next call for any parser of the Reader.
// Bounds: head 64 KiB, 256 fields. What of a head lies beyond is passed over, but for
// the fields in it that decide framing; of a longer request line 16 KiB are kept.
// Of a chunk-size line, a trailer field or a field beyond the bound 4 KiB are kept; a
// trailer section above 64 KiB is an anomaly.
// Nothing is allocated by a length that a message claims. A Reader remembers the
// last head of each of 256 shapes ([message.Shapes]), of up to 4 KiB: 7 MiB at most
// with its fields, whatever clients send.
//
// # Missing octets
//
// Parser.Missing tells of octets that never come. Inside a body whose length is
// known they cost only themselves. In a head, or where chunks can't be followed
// any more, the message is lost or broken off, and the parser looks for the next
// segment that begins with a whole request line or a status line. A request line in
// parts is found if the client has sent the last of them after the server had said
// more: it is in the line within which that happened. What a body holds is none of
// this, unless the server speaks, and its client cuts, in the middle of it.
//
// # Framing
//
// Where length is ambiguous the parser takes one side, and says so. In a request
// it is that of most servers: Transfer-Encoding wins over Content-Length; of
// differing Content-Lengths the first counts; a final coding other than chunked is
// ignored. A response whose head leaves it open is told by its body: it is chunked
// if it begins with a chunk-size line, else Content-Length or the connection's end
// delimits it.
//
// Where a response is due, any line that begins with the protocol's name is its
// status line, as for lenient clients; a status other than three digits is 200
// then. Behind lost octets only regular start lines count.
//
// It does not decide which request a response answers; its caller does.
package http1
