package pipeline

import (
	"offpath/reassembly"
	"offpath/reassembly/message"
	"offpath/reassembly/tcp"
)

// exchange is a request whose transaction is not finished.
type exchange struct {
	next *exchange               // the request after it
	tx   *reassembly.Transaction // nil until the request was extracted

	first    tcp.Position // of the request's first octet
	headEnd  uint32       // sequence number after its head
	end      uint32       // sequence number after it, if ended
	sequence int          // position on the connection
	charge   int          // octets of tx that are charged to the budget
	gap      int64
	last     int64 // capture time of the last octet seen of its messages

	informational []int
	anomalies     reassembly.Anomalies
	flags         reassembly.Flags
	resynced      bool // requests before it may have been lost
	ended         bool // the request was read
	answered      bool // its final response was read
	broken        bool // the end of request or response was not seen
	head          bool // its method is HEAD
	safe          bool // its method is safe
	connect       bool // its method is CONNECT
	decides       bool // its answer decides which protocol follows
	h2c           bool // it asks for HTTP/2
	extended      bool // it names a protocol that is to follow (RFC 8441)
	socket        bool // which is WebSocket
}

// maxInformational bounds Transaction.Informational.
const maxInformational = 16

// maxQueue is how many requests of a connection may wait for their response.
const maxQueue = 250

func (w *worker) newExchange() *exchange {
	if n := len(w.spare); n > 0 {
		x := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return x
	}
	return new(exchange)
}

// recycle takes back an exchange that no connection refers to.
func (s *shard) recycle(x *exchange) {
	s.budget.Give(x.charge)
	*x = exchange{}
	if len(s.spare) < 1024 {
		s.spare = append(s.spare, x)
	}
}

// waitCost is what a transaction that waits for the rest of its exchange is charged
// beside its text, octets.
const waitCost = 1280

// waits charges a transaction that waits for the rest of its exchange, or says that
// there is no room for it.
func (s *shard) waits(x *exchange) bool {
	q := &x.tx.Request
	n := waitCost + 2*len(q.Target) + len(q.Referrer) + len(q.UserAgent) +
		fieldCost*(len(q.Headers)+len(x.tx.Auth.SessionPresented))
	for _, field := range q.Detail.Fields {
		n += fieldCost + len(field[0]) + len(field[1])
	}
	if !s.admits(n - x.charge) {
		s.stats.QueueOverflows++
		return false
	}
	x.charge = n
	return true
}

// fieldCost is what a header field of a transaction takes, or the hash of a token,
// beside the octets of its value.
const fieldCost = 40

// cutHead are the anomalies of heads whose fields were not all read.
const cutHead = reassembly.AnomalyHeadTooLarge | reassembly.AnomalyTooManyHeaders

// extract makes the transaction of a request.
func (s *shard) extract(f *tcp.Flow, c *conn, x *exchange, head *message.Head, body message.Body) {
	if x.tx == nil {
		x.tx = s.txs.New()
		x.tx.Duration = reassembly.Unknown
	}
	tx := x.tx
	s.identify(f, c, tx, x.first.Time, x.sequence)
	s.extractor.Request(tx, head, body)
}

// identify says where and when a transaction was.
func (s *shard) identify(f *tcp.Flow, c *conn, tx *reassembly.Transaction, start int64, sequence int) {
	if c.identity.communityID == "" {
		c.identity = newIdentity(protocolTCP, f.Endpoint(0), f.Endpoint(1), f.Wrapping())
	}
	tx.Start = start
	tx.Source, tx.Destination = f.Endpoint(c.client), f.Endpoint(c.client.Other())
	tx.Sequence = sequence
	c.identity.mark(tx, &s.ids, start, sequence)
	if l := c.layers; l != nil {
		tx.Client, tx.JA4, tx.ServerName = l.client, l.ja4, l.serverName
	}
}

// emit finishes a transaction and takes its exchange out of the queue, whose
// first one it is.
func (s *shard) emit(f *tcp.Flow, c *conn) {
	x := c.queue
	c.queue = x.next
	if c.queue == nil {
		c.newest = nil
	}
	c.queued--
	s.finish(f, c, x)
}

// finish hands a transaction over.
func (s *shard) finish(f *tcp.Flow, c *conn, x *exchange) {
	tx := x.tx
	tx.End = s.table.Clock()
	tx.Informational = x.informational
	tx.Anomalies |= x.anomalies | c.anomalies
	c.anomalies = 0
	tx.Flags = x.flags
	tx.GapBytes = x.gap
	if x.gap > 0 {
		tx.Flags |= reassembly.FlagGap
	}
	if f.Midstream() {
		tx.Flags |= reassembly.FlagMidstream
	}
	if !f.Seen(c.client.Other()) {
		tx.Flags |= reassembly.FlagOneWay
	}
	if x.answered {
		tx.Duration = max(0, x.last-tx.Start)
	} else {
		s.stats.Unanswered++
	}
	if tx.Complete = x.answered && x.ended && !x.broken; tx.Complete {
		s.stats.Complete++
	}
	if s.cut && !tx.Complete {
		tx.Flags |= reassembly.FlagTruncated
	}
	s.stats.Transactions++
	s.done = append(s.done, tx)
	s.recycle(x)
}

// abandon takes an exchange out of the queue that can't become a transaction.
func (s *shard) abandon(c *conn, x *exchange) {
	at := &c.queue
	var before *exchange
	for *at != x {
		before, at = *at, &(*at).next
	}
	*at = x.next
	if c.newest == x {
		c.newest = before
	}
	c.queued--
	s.stats.RequestsAbandoned++
	s.recycle(x)
}
