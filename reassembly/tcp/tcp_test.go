package tcp_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/reassembly/internal/script"
	"offpath/reassembly/tcp"
)

// recorder notes what a table says, octets by direction of the client.
type recorder struct {
	octets [2][]byte // of client and server, missing ones as '?'
	events []string
	ignore bool
}

func (r *recorder) side(f *tcp.Flow, d tcp.Direction) int {
	if client, ok := f.Client(); ok && client != d {
		return 1
	}
	return 0
}

func (r *recorder) Data(f *tcp.Flow, d tcp.Direction, s *tcp.Segment) int {
	f.Conn = r
	i := r.side(f, d)
	r.octets[i] = append(r.octets[i], s.Data...)
	if r.ignore {
		f.Ignore()
	}
	return len(s.Data)
}

func (r *recorder) Missing(f *tcp.Flow, d tcp.Direction, n int64, _ tcp.Cause) {
	i := r.side(f, d)
	if n <= 1<<20 {
		r.octets[i] = append(r.octets[i], bytes.Repeat([]byte{'?'}, int(n))...)
	}
	r.events = append(r.events, fmt.Sprintf("missing %d", n))
}

func (r *recorder) Conflict(*tcp.Flow, tcp.Direction) { r.events = append(r.events, "conflict") }
func (r *recorder) End(f *tcp.Flow, d tcp.Direction) {
	r.events = append(r.events, fmt.Sprintf("end %d", r.side(f, d)))
}
func (r *recorder) Timeout(*tcp.Flow)                 {}
func (r *recorder) Close(_ *tcp.Flow, why tcp.Reason) { r.events = append(r.events, why.String()) }

// table returns a table with its recorder, books and budget.
func table(t testing.TB, config tcp.Config, budget int) (*tcp.Table, *recorder, *tcp.Stats, *tcp.Budget) {
	t.Helper()
	r, stats, b := &recorder{}, &tcp.Stats{}, tcp.NewBudget(budget)
	table, err := tcp.New(config, r, b, stats)
	require.NoError(t, err)
	return table, r, stats, b
}

func feed(table *tcp.Table, packets []capture.Packet) {
	for i := range packets {
		table.Packet(&packets[i])
	}
}

func balance(t testing.TB, s *tcp.Stats) {
	t.Helper()
	assert.Equal(t, s.Octets, s.Delivered+s.Duplicate+s.Ignored+s.Dropped+s.Stray+s.Buffered, "octets")
}

func TestThirtyThousandReversedSegmentsAreCheapAndBounded(t *testing.T) {
	s := script.New()
	c := s.Connection()
	c.Silent = true
	c.Open()
	c.MSS = 100
	c.Client(string(make([]byte, 3_000_000)))
	packets := s.Packets()
	for i, j := 3, len(packets)-1; i < j; i, j = i+1, j-1 {
		packets[i], packets[j] = packets[j], packets[i]
	}
	for _, test := range []struct {
		name string
		room int
		want int // octets delivered
	}{{"with room all are put in order", 8 << 20, 3_000_000}, {"without room the highest go", 1 << 20, 535_000}} {
		t.Run(test.name, func(t *testing.T) {
			table, r, stats, budget := table(t, tcp.Config{FlowBuffer: test.room}, 16<<20)
			feed(table, script.Stamp(packets))
			assert.LessOrEqual(t, budget.Used(), test.room)
			assert.InDelta(t, test.want, len(r.octets[0]), 1000)
			table.Close()
			balance(t, stats)
			assert.Zero(t, budget.Used())
		})
	}
}

func TestHoles(t *testing.T) {
	for _, test := range []struct {
		name   string
		write  func(s *script.Script, c *script.Connection)
		lose   []int
		want   string
		events []string
	}{{
		name: "an acknowledged hole is declared after the hold",
		write: func(s *script.Script, c *script.Connection) {
			c.Client("one")
			c.Client("two")
			c.Client("three")
			s.Wait(300 * time.Millisecond)
			c.Send(true, capture.FlagACK, nil)
		},
		lose: []int{5}, want: "one???three", events: []string{"missing 3"},
	}, {
		name: "before the hold is over nothing is declared",
		write: func(s *script.Script, c *script.Connection) {
			c.Client("one")
			c.Client("two")
			c.Client("three")
			s.Wait(200 * time.Millisecond)
			c.Send(true, capture.FlagACK, nil)
		},
		lose: []int{5}, want: "one",
	}, {
		name: "a hole that the receiver did not acknowledge stays open",
		write: func(s *script.Script, c *script.Connection) {
			c.Silent = true
			c.Client("one")
			c.Client("two")
			c.Client("three")
			s.Wait(30 * time.Second)
			c.Send(true, capture.FlagACK, nil)
		},
		lose: []int{4}, want: "one",
	}, {
		name: "the end of the connection declares what is missing",
		write: func(_ *script.Script, c *script.Connection) {
			c.Client("one")
			c.Client("two")
			c.Client("three")
			c.Close()
			c.SeqClient += 1 << 29
			c.Open()
		},
		lose: []int{5}, want: "one???three", events: []string{"end 1", "missing 3", "end 0", "replaced"},
	}, {
		name: "many packets end the hold as well",
		write: func(s *script.Script, c *script.Connection) {
			s.Step = time.Microsecond
			c.Client("one")
			c.Client("two")
			c.Client("three")
			for range 128 {
				c.Send(false, capture.FlagACK, nil)
			}
		},
		lose: []int{5}, want: "one???three", events: []string{"missing 3"},
	}} {
		t.Run(test.name, func(t *testing.T) {
			s := script.New()
			c := s.Connection()
			c.Open()
			test.write(s, c)
			table, r, stats, _ := table(t, tcp.Config{}, 1<<20)
			feed(table, script.Without(s.Packets(), test.lose...))
			assert.Equal(t, test.want, string(r.octets[0]))
			assert.Equal(t, test.events, r.events)
			balance(t, stats)
		})
	}
}

func TestResets(t *testing.T) {
	for _, test := range []struct {
		name   string
		write  func(s *script.Script, c *script.Connection)
		want   string
		events []string
		closed uint64 // flows, by the reset
	}{{
		name: "a reset before any data is overruled by the data of who sent it",
		write: func(_ *script.Script, c *script.Connection) {
			c.Open()
			c.Send(true, capture.FlagRST|capture.FlagACK, nil)
			c.Client("one")
		},
		want: "one",
	}, {
		name: "nobody overrules it but in time",
		write: func(s *script.Script, c *script.Connection) {
			c.Open()
			c.Send(true, capture.FlagRST|capture.FlagACK, nil)
			s.Wait(300 * time.Millisecond)
			c.Client("one")
		},
		closed: 1,
	}, {
		name: "the other side's data are late ones",
		write: func(s *script.Script, c *script.Connection) {
			c.Open()
			c.Send(true, capture.FlagRST|capture.FlagACK, nil)
			c.Server("one")
			s.Wait(300 * time.Millisecond)
			c.Client("two")
		},
		events: []string{"reset"}, closed: 1,
	}, {
		name: "a connection that is refused is closed at once",
		write: func(_ *script.Script, c *script.Connection) {
			c.Send(true, capture.FlagSYN, nil)
			c.Send(false, capture.FlagRST|capture.FlagACK, nil)
			c.Send(false, capture.FlagRST|capture.FlagACK, nil)
		},
		closed: 1,
	}} {
		t.Run(test.name, func(t *testing.T) {
			s := script.New()
			c := s.Connection()
			test.write(s, c)
			table, r, stats, _ := table(t, tcp.Config{}, 1<<20)
			feed(table, s.Packets())
			assert.Equal(t, test.closed, stats.FlowsClosed[tcp.ReasonReset])
			assert.Equal(t, test.want, string(r.octets[0]))
			assert.Equal(t, test.events, r.events)
			balance(t, stats)
		})
	}
}

func TestOverlapsKeepTheFirstCopy(t *testing.T) {
	s := script.New()
	c := s.Connection()
	c.Open()
	at := func(seq int, octets string) {
		from := c.SeqClient
		c.SeqClient += uint32(seq)
		c.Send(true, capture.FlagACK, []byte(octets))
		c.SeqClient = from
	}
	at(4, "EFGH")
	at(10, "KL")
	at(2, "cdefghijkl") // overlaps both, in other letters
	at(0, "abcd")
	table, r, stats, _ := table(t, tcp.Config{}, 1<<20)
	feed(table, s.Packets())
	assert.Equal(t, "abcdEFGHijKL", string(r.octets[0]))
	assert.EqualValues(t, 2, stats.Conflicts)
	balance(t, stats)
}

func TestTimeouts(t *testing.T) {
	s := script.New()
	open, data := s.Connection(), s.Connection()
	open.Send(true, capture.FlagSYN, nil)
	data.Open()
	data.Client("x")
	table, r, stats, _ := table(t, tcp.Config{}, 1<<20)
	feed(table, s.Packets())
	table.Advance(script.Epoch + int64(31*time.Second))
	assert.EqualValues(t, 1, stats.Flows, "half open ones go first")
	table.Advance(script.Epoch + int64(11*time.Minute))
	assert.Zero(t, stats.Flows)
	assert.Equal(t, []string{"expired"}, r.events, "nobody was told of a connection without data")
	assert.EqualValues(t, 2, stats.FlowsClosed[tcp.ReasonExpired])
}

func TestEvictionTakesClosedThenHalfOpenThenIdleLongest(t *testing.T) {
	s := script.New()
	var idle []*script.Connection
	for range 16 {
		c := s.Connection()
		c.Open()
		c.Client("x")
		idle = append(idle, c)
		s.Wait(2 * time.Second)
	}
	idle[0].Client("y") // now idle[1] is idle longest
	for range 2 {
		c := s.Connection()
		c.Open()
		c.Client("z")
	}
	s.Connection().Send(true, capture.FlagSYN, nil)
	table, _, stats, _ := table(t, tcp.Config{MaxFlows: 16}, 1<<20)
	feed(table, s.Packets())
	assert.EqualValues(t, 16, stats.Flows)
	assert.EqualValues(t, 3, stats.EvictedIdle)
	s.Connection().Send(true, capture.FlagSYN, nil)
	packets := s.Packets()
	table.Packet(&packets[len(packets)-1])
	assert.EqualValues(t, 1, stats.EvictedOpen)
	assert.EqualValues(t, 3, stats.EvictedIdle)
}

func TestClosedFlowsAreRememberedForAWhile(t *testing.T) {
	s := script.New()
	closed := func() *script.Connection {
		c := s.Connection()
		c.Open()
		c.Client("hello")
		c.Close()
		return c
	}
	first := closed()
	s.Wait(2 * time.Second)
	closed()
	before := len(s.Packets())
	first.Send(true, capture.FlagACK|capture.FlagPSH, []byte("late"))
	s.Wait(1500 * time.Millisecond)
	first.Send(true, capture.FlagACK, nil)
	packets := s.Packets()
	table, _, stats, _ := table(t, tcp.Config{MaxFlows: 16}, 1<<20)
	feed(table, packets[:before])
	assert.EqualValues(t, 2, stats.Flows)
	stray := stats.PacketsStray
	table.Packet(&packets[before])
	assert.EqualValues(t, 2, stats.FlowsOpened, "the straggler opens none")
	assert.EqualValues(t, 4, stats.Stray)
	assert.Equal(t, stray, stats.PacketsStray, "it is known whose it is")
	table.Packet(&packets[before+1])
	assert.EqualValues(t, 1, stats.Flows, "the first is forgotten after three seconds")
	assert.Equal(t, stray+1, stats.PacketsStray)
	for range 20 {
		closed()
	}
	packets = s.Packets()
	feed(table, packets[before+2:])
	assert.EqualValues(t, 16, stats.Flows)
	assert.EqualValues(t, 5, stats.EvictedClosed)
	table.Advance(table.Clock() + int64(4*time.Second))
	assert.Zero(t, stats.Flows)
	balance(t, stats)
}

// deaf takes everything, and counts what is closed.
type deaf struct{ closed int }

func (*deaf) Data(_ *tcp.Flow, _ tcp.Direction, s *tcp.Segment) int { return len(s.Data) }
func (*deaf) Missing(*tcp.Flow, tcp.Direction, int64, tcp.Cause)    {}
func (*deaf) Conflict(*tcp.Flow, tcp.Direction)                     {}
func (*deaf) End(*tcp.Flow, tcp.Direction)                          {}
func (*deaf) Timeout(*tcp.Flow)                                     {}
func (d *deaf) Close(*tcp.Flow, tcp.Reason)                         { d.closed++ }

func TestAConnectionThatComesAndGoesCostsNoAllocation(t *testing.T) {
	s := script.New()
	c := s.Connection()
	c.Open()
	c.Client("hello")
	c.Close()
	packets := s.Packets()
	consumer := &deaf{}
	table, err := tcp.New(tcp.Config{}, consumer, tcp.NewBudget(1<<20), &tcp.Stats{})
	require.NoError(t, err)
	again := func() {
		for i := range packets {
			packets[i].Seq += 1 << 21 // another connection on the same ports
			packets[i].Ack += 1 << 21
		}
		feed(table, packets)
	}
	assert.Zero(t, testing.AllocsPerRun(1000, again))
	assert.Equal(t, 1001, consumer.closed)
}

func TestIgnoredFlowsAreOnlyCounted(t *testing.T) {
	s := script.New()
	c := s.Connection()
	c.Open()
	c.Client("hello")
	c.Client("more")
	c.Server("answer")
	c.Close()
	table, r, stats, _ := table(t, tcp.Config{}, 1<<20)
	r.ignore = true
	feed(table, s.Packets())
	assert.Equal(t, "hello", string(r.octets[0]))
	assert.Equal(t, []string{"fin"}, r.events)
	assert.EqualValues(t, 10, stats.Ignored)
	balance(t, stats)
}

func TestInvalidConfigurationIsQuoted(t *testing.T) {
	_, err := tcp.New(tcp.Config{MaxFlows: 3}, &recorder{}, tcp.NewBudget(1), &tcp.Stats{})
	assert.EqualError(t, err, "tcp: 3 flows a shard: at least 16 are needed")
	_, err = tcp.New(tcp.Config{Hold: -time.Second}, &recorder{}, tcp.NewBudget(1), &tcp.Stats{})
	assert.EqualError(t, err, "tcp: hold of -1s: at least 1ms is needed")
}

// FuzzStreams: both streams come out as they were sent, whatever the order and
// repetition; with losses every octet is either right or declared missing.
func FuzzStreams(f *testing.F) {
	for i := range uint64(10) {
		f.Add(i, uint16(3000*i), uint8(i*20), uint8(i), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, size uint16, mss, window uint8, lossy bool) {
		r := rand.New(rand.NewPCG(seed, 9))
		s := script.New()
		c := s.Connection()
		c.SeqClient = r.Uint32()
		c.Open()
		c.MSS = 1 + int(mss)
		var sent [2][]byte
		for n := int(size); n > 0; {
			part := make([]byte, min(n, 1+r.IntN(5*c.MSS)))
			for i := range part {
				part[i] = 'a' + byte(r.IntN(26))
			}
			n -= len(part)
			if r.IntN(2) == 0 {
				sent[0] = append(sent[0], part...)
				c.Client(string(part))
			} else {
				sent[1] = append(sent[1], part...)
				c.Server(string(part))
			}
		}
		c.Close()
		packets := script.Shuffled(script.Doubled(s.Packets(), 0.2, r), 1+int(window)%60, r)
		if lossy {
			packets, _ = script.Lossy(packets, 0.05, r)
		}
		table, got, stats, budget := table(t, tcp.Config{}, 4<<20)
		feed(table, packets)
		table.Close()
		balance(t, stats)
		require.Zero(t, budget.Used())
		require.Zero(t, stats.Buffered)
		for i := range sent {
			if !lossy {
				require.Equal(t, string(sent[i]), string(got.octets[i]))
				continue
			}
			if stats.FlowsMidstream > 0 {
				continue // the handshake was lost
			}
			// Start and end may be lost, and a lost FIN that was acknowledged
			// counts as an octet; what is between stands where it was sent.
			at := func(from int) bool {
				for j, o := range got.octets[i] {
					if o != '?' && (from+j >= len(sent[i]) || o != sent[i][from+j]) {
						return false
					}
				}
				return true
			}
			from := 0
			for from+len(got.octets[i]) <= len(sent[i])+1 && !at(from) {
				from++
			}
			require.LessOrEqual(t, from+len(got.octets[i]), len(sent[i])+1, "direction %d was put together wrongly", i)
		}
	})
}

func BenchmarkInOrder(b *testing.B) {
	s := script.New()
	c := s.Connection()
	c.Open()
	c.Client(string(make([]byte, 1400)))
	packets := s.Packets()
	table, err := tcp.New(tcp.Config{}, discard{}, tcp.NewBudget(1<<20), &tcp.Stats{})
	require.NoError(b, err)
	feed(table, packets)
	next := packets[len(packets)-2]
	b.SetBytes(1400)
	b.ReportAllocs()
	for b.Loop() {
		next.Seq += 1400
		table.Packet(&next)
	}
}

func BenchmarkReversed(b *testing.B) {
	s := script.New()
	c := s.Connection()
	c.Silent = true
	c.Open()
	c.MSS = 100
	c.Client(string(make([]byte, 3_000_000)))
	packets := s.Packets()
	for i, j := 3, len(packets)-1; i < j; i, j = i+1, j-1 {
		packets[i], packets[j] = packets[j], packets[i]
	}
	script.Stamp(packets)
	for b.Loop() {
		table, err := tcp.New(tcp.Config{FlowBuffer: 8 << 20}, discard{}, tcp.NewBudget(8<<20), &tcp.Stats{})
		require.NoError(b, err)
		feed(table, packets)
	}
}

type discard struct{}

func (discard) Data(_ *tcp.Flow, _ tcp.Direction, s *tcp.Segment) int { return len(s.Data) }
func (discard) Missing(*tcp.Flow, tcp.Direction, int64, tcp.Cause)    {}
func (discard) Conflict(*tcp.Flow, tcp.Direction)                     {}
func (discard) End(*tcp.Flow, tcp.Direction)                          {}
func (discard) Timeout(*tcp.Flow)                                     {}
func (discard) Close(*tcp.Flow, tcp.Reason)                           {}
