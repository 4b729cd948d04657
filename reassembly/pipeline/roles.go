package pipeline

import (
	"offpath/reassembly/http1"
	"offpath/reassembly/tcp"
)

// Who is the client of a connection that was joined in the middle, or has begun with
// something else than HTTP, is told by start lines at the beginning of segments.
// Either side can write the other's there, within a body, but not have the other one
// write its own. So the roles are a guess until a response has been paired with a
// request; up to then responses without a request are passed over, and the other
// side's start lines turn the roles round. Where the word of both sides is the same
// the ports decide.

// believes notes that a side has begun a segment with a start line, and reports
// whether that shows who is the client.
func (c *conn) believes(f *tcp.Flow, d tcp.Direction, like http1.Likeness) bool {
	c.said[d] = like
	client, peer := asker(d, like), c.said[d.Other()]
	from, to := f.Endpoint(client).Port(), f.Endpoint(client.Other()).Port()
	switch {
	case peer == http1.Unlike, peer == http1.Request && like == http1.Request:
		return from >= firstUnprivileged || to < firstUnprivileged || !c.guesses(f)
	case peer == like:
		return from > to
	}
	return true // one asks, the other answers
}

// firstUnprivileged is the first port that is not kept for servers (RFC 6335 section 6).
const firstUnprivileged = 1024

// asker is the side that is the client, if side d begins with a start line.
func asker(d tcp.Direction, like http1.Likeness) tcp.Direction {
	if like == http1.Request {
		return d
	}
	return d.Other()
}

// guesses reports whether the handshake does not tell who is the client.
func (c *conn) guesses(f *tcp.Flow) bool {
	_, known := f.Client()
	return c.guessed || !known
}

// guess takes a side for the client by what the connection carries.
func (c *conn) guess(f *tcp.Flow, client tcp.Direction) {
	c.guessed = c.guesses(f)
	c.client = client
	f.SetClient(client)
}

// review turns the roles round if a segment shows that the guess was wrong.
func (s *shard) review(f *tcp.Flow, c *conn, d tcp.Direction, in *http1.Input) {
	if in.Inside || len(in.Data) == 0 || !c.between(d) {
		return
	}
	like := http1.Prove(in.Data)
	if like == http1.Unlike || asker(d, like) == c.client || d == c.client && c.sequence > 0 || !c.believes(f, d, like) {
		return
	}
	for c.queue != nil {
		s.abandon(c, c.queue)
	}
	s.startOver(c)
	c.guess(f, c.client.Other())
	c.oriented, c.spoken = true, false
	c.answering, c.interim, c.pipelined, c.responsesLost = false, false, false, true
	c.parser[c.client.Other()].Answer()
	c.parser[0].Seek()
	c.parser[1].Seek()
	s.stats.RolesCorrected++
}
