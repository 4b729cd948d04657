package stream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/stream"
	"offpath/detect/stream/kafkatest"
	"offpath/reassembly"
)

func TestTransactionsComeOutOfKafkaInTheOrderInWhichTheSensorSentThem(t *testing.T) {
	address := kafkatest.Start(t)

	t.Run("one sensor, eight partitions", func(t *testing.T) {
		want := transactions(5000, 1)
		got := overKafka(t, address, "one", want)
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, want[i], got[i], "transaction %d", i)
		}
	})

	t.Run("two sensors are merged by the end of their transactions", func(t *testing.T) {
		a, b := transactions(1500, 2), transactions(1500, 3)
		got := overKafka(t, address, "two", a, b)
		require.Len(t, got, len(a)+len(b))
		for i := 1; i < len(got); i++ {
			require.LessOrEqual(t, got[i-1].End, got[i].End, "transaction %d", i)
		}
	})

	t.Run("what was emitted is not read again after a restart", func(t *testing.T) {
		txs := transactions(2000, 4)
		brokers := stream.Brokers{Addresses: []string{address}, Topic: "restart"}
		produce(t, brokers, "s", 1, txs[:1000])
		first := consume(t, brokers, 1000)
		produce(t, brokers, "s", 2, txs[1000:])
		second := consume(t, brokers, 1000)
		assert.Equal(t, txs, append(first, second...))
	})

	t.Run("octets that are no transaction are counted and passed over", func(t *testing.T) {
		brokers := stream.Brokers{Addresses: []string{address}, Topic: "garbage"}
		txs := transactions(100, 5)
		produce(t, brokers, "s", 1, txs[:50])
		w := &kafka.Writer{Addr: kafka.TCP(address), Topic: brokers.Topic, BatchTimeout: time.Millisecond}
		require.NoError(t, w.WriteMessages(t.Context(),
			kafka.Message{Value: []byte("no header")},
			kafka.Message{Value: []byte{0xff}, Headers: []kafka.Header{
				{Key: "offpath-sensor", Value: []byte("x")}, {Key: "offpath-epoch", Value: []byte("1")},
				{Key: "offpath-sequence", Value: []byte("0")}, {Key: "offpath-watermark", Value: []byte("5")},
			}}))
		require.NoError(t, w.Close())
		produce(t, brokers, "s", 2, txs[50:])
		c, got := consumeAll(t, brokers, 100)
		assert.Equal(t, txs, got)
		assert.Equal(t, uint64(2), c.Stats().Undecodable)
	})

	t.Run("the last line of each verdict remains readable under its id", func(t *testing.T) {
		w, err := stream.NewVerdictWriter(t.Context(), stream.VerdictsConfig{
			Brokers: stream.Brokers{Addresses: []string{address}, Topic: "verdicts", Partitions: 1},
		})
		require.NoError(t, err)
		w.Send("aa", []byte("{\"n\":1}\n"))
		w.Send("aa", []byte("{\"n\":2}\n"))
		w.Close()
		require.NoError(t, w.Run(t.Context()))
		assert.Equal(t, stream.VerdictStats{Written: 2}, w.Stats())
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address}, Topic: "verdicts", MaxWait: 50 * time.Millisecond})
		defer r.Close()
		for n := 1; n <= 2; n++ {
			m, err := r.ReadMessage(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "aa", string(m.Key))
			assert.Equal(t, fmt.Sprintf(`{"n":%d}`, n), string(m.Value))
		}
	})
}

func TestAProducerWhoseQueueIsFullShedsAndCounts(t *testing.T) {
	address := kafkatest.Start(t)
	p, err := stream.NewProducer(t.Context(), stream.ProducerConfig{
		Brokers: stream.Brokers{Addresses: []string{address}, Topic: "full"}, Sensor: "s", Epoch: 1, Queue: 10,
	})
	require.NoError(t, err)
	txs := transactions(30, 6)
	for _, tx := range txs { // Run has not begun: nothing leaves the queue
		p.Send([]*reassembly.Transaction{tx}, tx.End)
	}
	assert.Equal(t, stream.ProducerStats{Shed: 20, Queued: 10}, p.Stats())
	p.Close()
	require.NoError(t, p.Run(t.Context()))
	s := p.Stats()
	assert.Equal(t, uint64(10), s.Written)
	assert.Equal(t, uint64(len(txs)), s.Written+s.Shed)
}

func TestBrokersThatCannotBeReachedAreNamed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := stream.NewProducer(ctx, stream.ProducerConfig{
		Brokers: stream.Brokers{Addresses: []string{"127.0.0.1:1"}, Topic: "t"}, Sensor: "s",
	})
	require.ErrorContains(t, err, "reach Kafka at 127.0.0.1:1")
	_, err = stream.NewConsumer(ctx, stream.ConsumerConfig{Brokers: stream.Brokers{Topic: "t"}})
	require.ErrorContains(t, err, "stream.brokers is empty")
}

func TestATransactionSurvivesItsProtobufForm(t *testing.T) {
	for _, tx := range append(transactions(500, 7), full()) {
		b, err := stream.Marshal(tx)
		require.NoError(t, err)
		got, err := stream.Unmarshal(b)
		require.NoError(t, err)
		require.Equal(t, tx, got)
	}
}

func TestTheAnnotationOfDetectionDoesNotTravel(t *testing.T) {
	tx := full()
	tx.Annotation = reassembly.Annotation{Role: "login", Outcome: "rejected"}
	b, err := stream.Marshal(tx)
	require.NoError(t, err)
	got, err := stream.Unmarshal(b)
	require.NoError(t, err)
	assert.Equal(t, full(), got)
}

func FuzzUnmarshalEndsInATransactionOrAnErrMessage(f *testing.F) {
	for _, tx := range append(transactions(5, 8), full()) {
		b, err := stream.Marshal(tx)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		tx, err := stream.Unmarshal(b)
		if err != nil {
			require.ErrorIs(t, err, stream.ErrMessage)
			return
		}
		again, err := stream.Marshal(tx)
		require.NoError(t, err)
		got, err := stream.Unmarshal(again)
		require.NoError(t, err)
		require.Equal(t, tx, got)
	})
}

// overKafka sends each list by a sensor of its own and returns what comes out.
func overKafka(t *testing.T, address, topic string, lists ...[]*reassembly.Transaction) []*reassembly.Transaction {
	t.Helper()
	const partitions = 8
	brokers := stream.Brokers{Addresses: []string{address}, Topic: topic, Partitions: partitions}
	total := 0
	var senders []*stream.Producer
	for i, txs := range lists {
		p := newProducer(t, brokers, fmt.Sprint("sensor-", i), 1)
		senders = append(senders, p)
		total += len(txs)
	}
	// All sensors are known to every partition before the first one goes on.
	done := make(chan error, len(senders))
	for _, p := range senders {
		p.Send(nil, start)
		go func() { done <- p.Run(t.Context()) }()
	}
	for _, p := range senders {
		require.Eventually(t, func() bool { return p.Stats().Watermarks >= partitions }, time.Minute, time.Millisecond)
	}
	for i, txs := range lists {
		send(senders[i], txs)
		senders[i].Close()
	}
	for range senders {
		require.NoError(t, <-done)
	}
	c, got := consumeAll(t, brokers, total)
	s := c.Stats()
	assert.Equal(t, uint64(total), s.Transactions)
	assert.Zero(t, s.Late+s.Gaps+s.Undecodable+s.Duplicates)
	return got
}

func newProducer(t *testing.T, brokers stream.Brokers, sensor string, epoch int64) *stream.Producer {
	t.Helper()
	p, err := stream.NewProducer(t.Context(), stream.ProducerConfig{Brokers: brokers, Sensor: sensor, Epoch: epoch})
	require.NoError(t, err)
	return p
}

func produce(t *testing.T, brokers stream.Brokers, sensor string, epoch int64, txs []*reassembly.Transaction) {
	t.Helper()
	p := newProducer(t, brokers, sensor, epoch)
	send(p, txs)
	p.Close()
	require.NoError(t, p.Run(t.Context()))
	assert.Equal(t, uint64(len(txs)), p.Stats().Written)
}

// send sends txs in chunks of uneven size, as a merger does.
func send(p *stream.Producer, txs []*reassembly.Transaction) {
	for i, n := 0, 1; i < len(txs); i, n = i+n, n%97+13 {
		chunk := txs[i:min(i+n, len(txs))]
		p.Send(chunk, chunk[len(chunk)-1].End+1)
	}
}

func consume(t *testing.T, brokers stream.Brokers, n int) []*reassembly.Transaction {
	t.Helper()
	_, got := consumeAll(t, brokers, n)
	return got
}

// consumeAll runs a consumer until n transactions have come and asserts that
// they come in order.
func consumeAll(t *testing.T, brokers stream.Brokers, n int) (*stream.Consumer, []*reassembly.Transaction) {
	t.Helper()
	c, err := stream.NewConsumer(t.Context(), stream.ConsumerConfig{Brokers: brokers})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []*reassembly.Transaction
	err = c.Run(ctx, func(txs []*reassembly.Transaction, _ int64) {
		if got = append(got, txs...); len(got) >= n {
			cancel()
		}
	})
	require.NoError(t, err)
	require.False(t, errors.Is(ctx.Err(), context.DeadlineExceeded), "only %d of %d came: %+v %v", len(got), n, c.Stats(), c.Err())
	return c, got
}

const start = int64(1_700_000_000_000_000_000)

// transactions returns n of them in their order.
func transactions(n int, seed uint64) []*reassembly.Transaction {
	r := rand.New(rand.NewPCG(seed, 0))
	var txs []*reassembly.Transaction
	end := start + int64(seed)
	for i := range n {
		end += 1 + r.Int64N(20_000_000)
		client := netip.AddrFrom4([4]byte{198, 51, 100, byte(r.IntN(256))})
		if r.IntN(4) == 0 {
			client = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(r.IntN(256))})
		}
		tx := &reassembly.Transaction{
			Start: end - 1000, End: end, Duration: 1000, ID: fmt.Sprintf("%d-%d", seed, i),
			Source: netip.AddrPortFrom(client, 40000), Destination: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 443),
			Client: client, CommunityID: "1:x", Sequence: i, HTTPVersion: "1.1",
			Request:  reassembly.Request{Method: "GET", Target: "/", Path: "/", BodyBytes: 0, Signature: reassembly.Signature{Length: 0}, Detail: reassembly.Detail{DecodedBytes: reassembly.Unknown}},
			Response: reassembly.Response{BodyBytes: reassembly.Unknown, Signature: reassembly.Signature{Length: reassembly.Unknown}, Detail: reassembly.Detail{DecodedBytes: reassembly.Unknown}},
		}
		if r.IntN(8) > 0 {
			tx.Response.Status, tx.Response.BodyBytes, tx.Response.Signature.Length = 200, 17, 5
			tx.Complete = true
		}
		txs = append(txs, tx)
	}
	return txs
}

// full has a value in every field, octets that are no text among them.
func full() *reassembly.Transaction {
	odd := "\xff\x00\\\"é"
	d := reassembly.Detail{Fields: [][2]string{{"Host", odd}, {"", ""}}, SHA256: "ab", DecodedBytes: 0}
	s := reassembly.Signature{Media: "json", Keys: "k", Order: "o", Cookies: []string{odd}, Location: odd, Code: odd, Length: 3}
	client := netip.MustParseAddr("203.0.113.9")
	return &reassembly.Transaction{
		Start: 1, End: 3, Duration: 2, ID: "id", Source: netip.AddrPortFrom(client, 1), Destination: netip.AddrPortFrom(client, 65535),
		Client: client, CommunityID: "1:c", Sequence: 7, VLAN: []uint16{0, 4095}, Encapsulation: []string{"qinq", "vlan"},
		HTTPVersion: "1.0",
		Request: reassembly.Request{Method: odd, Target: odd, Domain: odd, Path: odd, Query: odd, BodyBytes: 9, MIMEType: odd,
			Referrer: odd, UserAgent: odd, Headers: []string{"host", odd}, Signature: s, Detail: d},
		Response: reassembly.Response{Status: 999, BodyBytes: 0, MIMEType: odd, Signature: s, Detail: d},
		Auth: reassembly.Auth{Carrier: "form", UserField: odd, PasswordField: odd, PasswordFields: 2, GrantType: odd, UserHash: odd,
			PasswordHash: odd, SessionPresented: []string{odd, "b"}, SessionIssued: []string{"c"}, TokenIssued: true, APIKeyHash: odd},
		OFX:       &reassembly.OFX{MessageSets: []string{"SIGNON"}, StatusCodes: []string{"0"}, SourceHash: "a", DestinationHash: "b", Amount: "1.00", Currency: "EUR"},
		GRPC:      &reassembly.GRPC{Status: 0, RequestMessages: 1, ResponseMessages: reassembly.Unknown, Partial: true},
		Operation: odd, JA4: "t13d", ServerName: odd, Fingerprint: "f", FingerprintLoose: "l", FingerprintWire: "w",
		Informational: []int{100, 103}, RefusedBy: "00000001", Flags: reassembly.FlagGap | reassembly.FlagTunnel,
		Anomalies: reassembly.AnomalyObsFold | reassembly.AnomalyNULInHead, GapBytes: 5, Complete: true,
		Sensitive: reassembly.SensitiveLooked | 1<<35,
	}
}
