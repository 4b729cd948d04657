package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/detect/engine"
	"offpath/detect/stream"
	"offpath/detect/stream/kafkatest"
	"offpath/reassembly"
)

// decisions keeps what an engine writes.
type decisions struct {
	findings []detect.Finding
	verdicts []detect.Verdict
}

func (d *decisions) Finding(f *detect.Finding) { d.findings = append(d.findings, *f) }
func (d *decisions) Verdict(v *detect.Verdict) { d.verdicts = append(d.verdicts, *v) }

func TestTheEngineBehindKafkaDecidesAsTheEngineInOneProcess(t *testing.T) {
	txs := attack()

	direct := &decisions{}
	e, err := engine.New(engine.Config{}, direct)
	require.NoError(t, err)
	for _, tx := range txs {
		own := *tx // the engine annotates what it is shown
		e.Observe(&own)
		e.Advance(tx.End)
	}
	e.Close()
	require.GreaterOrEqual(t, len(direct.verdicts), 20, "the attack is found at all")

	address := kafkatest.Start(t)
	brokers := stream.Brokers{Addresses: []string{address}, Topic: "engine"}
	produce(t, brokers, "s", 1, txs)

	distributed := &decisions{}
	e, err = engine.New(engine.Config{}, distributed)
	require.NoError(t, err)
	c, err := stream.NewConsumer(t.Context(), stream.ConsumerConfig{Brokers: brokers})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen := 0
	require.NoError(t, c.Run(ctx, func(batch []*reassembly.Transaction, watermark int64) {
		for _, tx := range batch {
			e.Observe(tx)
		}
		e.Advance(watermark)
		if seen += len(batch); seen == len(txs) {
			cancel()
		}
	}))
	e.Close()
	require.Equal(t, len(txs), seen)
	assert.Equal(t, direct, distributed)
}

// A crash, and a snapshot from before it: what was read since is read again, and
// decided as if nothing had happened.
func TestWhatACrashInterruptsIsReadAgainAndNothingTwice(t *testing.T) {
	txs := attack()
	direct := &decisions{}
	e, err := engine.New(engine.Config{}, direct)
	require.NoError(t, err)
	for _, tx := range txs {
		own := *tx
		e.Observe(&own)
		e.Advance(tx.End)
	}
	address := kafkatest.Start(t)
	brokers := stream.Brokers{Addresses: []string{address}, Topic: "crash"}
	produce(t, brokers, "s", 1, txs)

	var before bytes.Buffer
	var known map[int]int64
	run := func(e *engine.Engine, known map[int]int64, until int, each func(c *stream.Consumer, seen int, partitions []int, watermark int64)) *stream.Consumer {
		var partitions []int
		var c *stream.Consumer
		c, err := stream.NewConsumer(t.Context(), stream.ConsumerConfig{Brokers: brokers, Keep: true, Assigned: func(_ uint64, list []int) { partitions = list }})
		require.NoError(t, err)
		c.Resume(known)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		seen := 0
		require.NoError(t, c.Run(ctx, func(batch []*reassembly.Transaction, watermark int64) {
			for _, tx := range batch {
				e.Observe(tx)
			}
			e.Advance(watermark)
			seen += len(batch)
			if each != nil {
				each(c, seen, partitions, watermark)
			}
			if seen >= until {
				cancel()
			}
		}))
		return c
	}
	first := &decisions{}
	e, err = engine.New(engine.Config{}, first)
	require.NoError(t, err)
	decided, found, kept := 0, 0, 0
	c := run(e, nil, len(txs)*3/4, func(c *stream.Consumer, seen int, partitions []int, watermark int64) {
		if known != nil || seen < len(txs)/2 {
			return
		}
		decided, found, kept = len(first.verdicts), len(first.findings), seen
		_, err := e.Snapshot(engine.Origin{Input: "p"}).WriteTo(&before)
		require.NoError(t, err)
		known = map[int]int64{}
		for _, p := range partitions {
			known[p] = watermark
		}
	})
	assert.Zero(t, c.Stats().Known)
	second := &decisions{verdicts: slices.Clone(first.verdicts[:decided]), findings: slices.Clone(first.findings[:found])}
	e, resumed, err := engine.Resume(engine.Config{}, second, &before, "")
	require.NoError(t, err)
	assert.Equal(t, "p", resumed.Input)
	c = run(e, known, len(txs)-kept, func(c *stream.Consumer, seen int, _ []int, watermark int64) { c.Kept(1, watermark) })
	assert.EqualValues(t, kept, c.Stats().Known, "nothing of this was committed")
	assert.Equal(t, direct, second)

	// What is kept is committed, and not read again.
	third := &decisions{}
	e, err = engine.New(engine.Config{}, third)
	require.NoError(t, err)
	committed := 0
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	c, err = stream.NewConsumer(t.Context(), stream.ConsumerConfig{Brokers: brokers, Keep: true})
	require.NoError(t, err)
	require.NoError(t, c.Run(ctx, func(batch []*reassembly.Transaction, _ int64) { committed += len(batch) }))
	assert.Less(t, committed, len(txs)/2)
}

// attack is ten minutes of a login endpoint: a thousand customers, and twenty
// addresses that replay a list of stolen passwords.
func attack() []*reassembly.Transaction {
	var txs []*reassembly.Transaction
	login := func(at time.Duration, client netip.Addr, account, password string, right bool) {
		end := start + at.Nanoseconds() + int64(len(txs)%1000)
		tx := &reassembly.Transaction{
			Start: end - 1e6, End: end, Duration: 1e6, ID: fmt.Sprintf("%024x", len(txs)),
			Source: netip.AddrPortFrom(client, 40000), Destination: netip.MustParseAddrPort("192.0.2.1:443"),
			Client: client, CommunityID: "1:" + client.String(), Sequence: len(txs), HTTPVersion: "1.1", Complete: true,
			Request: reassembly.Request{
				Method: "POST", Target: "/login", Domain: "bank.example", Path: "/login", BodyBytes: 40, MIMEType: "application/json",
				Signature: reassembly.Signature{Media: "json", Keys: "k", Order: "o", Length: 6}, Detail: reassembly.Detail{DecodedBytes: reassembly.Unknown},
			},
			Response: reassembly.Response{
				Status: 401, BodyBytes: 20, MIMEType: "application/json",
				Signature: reassembly.Signature{Media: "json", Keys: "e", Order: "e", Code: "invalid", Length: 5}, Detail: reassembly.Detail{DecodedBytes: reassembly.Unknown},
			},
			Auth: reassembly.Auth{Carrier: "json", UserField: "username", PasswordField: "password", PasswordFields: 1, UserHash: account, PasswordHash: password},
		}
		if right {
			tx.Response.Status = 200
			tx.Response.Signature = reassembly.Signature{Media: "json", Keys: "t", Order: "t", Length: 7}
			tx.Auth.SessionIssued, tx.Auth.TokenIssued = []string{fmt.Sprintf("%016x", len(txs)+1)}, true
		}
		txs = append(txs, tx)
	}
	for i := range 6000 {
		at := time.Duration(i) * 100 * time.Millisecond
		customer := netip.AddrFrom4([4]byte{198, 51, byte(i % 1000 >> 8), byte(i % 1000)})
		login(at, customer, fmt.Sprint("u", i%1000), fmt.Sprint("p", i%1000), i%13 > 0)
		if i > 600 && i%3 == 0 {
			bot := netip.AddrFrom4([4]byte{203, 0, 113, byte(i / 3 % 20)})
			login(at+time.Millisecond, bot, fmt.Sprint("stolen", i), fmt.Sprint("leaked", i), i%99 == 0)
		}
	}
	slices.SortFunc(txs, func(a, b *reassembly.Transaction) int {
		if reassembly.Less(a, b) {
			return -1
		}
		return 1
	})
	return txs
}
