package service

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/offpath/internal/api"
	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/detection"
	"offpath/cmd/offpath/internal/logging"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/detect/policy"
	"offpath/mitigate/controller"
)

// fakePart takes a while to end, and notes when it has.
type fakePart struct {
	name  string
	takes time.Duration // from the end of its input to its own
	fails error         // at once
	ended *[]string
	mu    *sync.Mutex
}

func (f *fakePart) run(ctx context.Context) error {
	if f.fails == nil {
		<-ctx.Done()
	}
	time.Sleep(f.takes)
	f.mu.Lock()
	defer f.mu.Unlock()
	*f.ended = append(*f.ended, f.name)
	return f.fails
}

func (f *fakePart) problems() []string      { return nil }
func (f *fakePart) reload(_ *config.Config) {}

// stopped runs parts until ctx is done or one fails, and returns the order in
// which they ended.
func stopped(ctx context.Context, parts ...*fakePart) ([]string, error) {
	var ended []string
	var mu sync.Mutex
	p := &process{log: logging.Log{Logger: zerolog.Nop()}}
	for _, part := range parts {
		part.ended, part.mu = &ended, &mu
		p.parts = append(p.parts, part)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := p.start(ctx, cancel)
	<-ctx.Done()
	err := p.stop(ctx, done)
	mu.Lock()
	defer mu.Unlock()
	return append([]string(nil), ended...), err
}

func TestPartsEndInTheOrderOfTheDataHoweverLongEachTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Minute, cancel)
		ended, err := stopped(ctx,
			&fakePart{name: "capture", takes: 3 * time.Second},
			&fakePart{name: "detection", takes: time.Second},
			&fakePart{name: "mitigation"})
		require.NoError(t, err)
		assert.Equal(t, []string{"capture", "detection", "mitigation"}, ended)
	})
}

func TestAPartThatFailsStopsTheOthersInGoodOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		ended, err := stopped(context.Background(),
			&fakePart{name: "capture", takes: time.Second},
			&fakePart{name: "detection", fails: broken},
			&fakePart{name: "mitigation"})
		assert.ErrorIs(t, err, broken)
		assert.Equal(t, []string{"detection", "capture", "mitigation"}, ended)
	})
}

func TestAPartThatHangsDoesNotKeepTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := stopped(ctx, &fakePart{name: "capture", takes: time.Hour})
		assert.EqualError(t, err, "stages did not come to their end within 20s")
		time.Sleep(2 * time.Hour) // let it end, for the bubble
	})
}

func TestTheFirstRefusalOfEachVerdictIsMeasuredOnce(t *testing.T) {
	var measured []time.Duration
	w := newWitness(&node{refused: func(after time.Duration) { measured = append(measured, after) }})
	assert.True(t, w.decided(&detect.Verdict{ID: "a", Time: 100}))
	assert.True(t, w.decided(&detect.Verdict{ID: "b", Time: 200}))
	assert.False(t, w.decided(&detect.Verdict{ID: "a", Time: 900}), "a renewal is no news")
	assert.False(t, w.decided(&detect.Verdict{ID: "c", Time: 900, Action: detect.ActionLift}))

	firstRefused := map[string]int64{"a": 0, "b": 250}
	enforcement := func(id string) (detect.Enforcement, bool) {
		first, ok := firstRefused[id]
		return detect.Enforcement{Verdict: id, FirstRefused: first}, ok
	}
	w.update(enforcement, nil)
	firstRefused["a"], firstRefused["other"] = 400, 1
	w.update(enforcement, nil)
	assert.Equal(t, []time.Duration{50, 300}, measured)
	w.decided(&detect.Verdict{ID: "restored", Time: 900})
	firstRefused["restored"] = 500
	w.update(enforcement, nil)
	assert.Len(t, measured, 2, "a verdict of an earlier run had been refused before")
	clear(firstRefused)
	w.update(enforcement, nil)
	assert.Empty(t, w.followed, "what the engine no longer follows is forgotten")
}

func TestVerdictsOfAnEarlierRunAreKnownToDetection(t *testing.T) {
	state, now := t.TempDir(), time.Now()
	left, err := controller.New(controller.Config{StateDir: state})
	require.NoError(t, err)
	own := detect.Verdict{ID: "0000000100000002", Time: now.UnixNano(), Expires: now.Add(time.Hour).UnixNano(), Action: detect.ActionBlock, Mode: detect.ModeMonitor}
	own.Subject.Client = netip.MustParsePrefix("192.0.2.1/32")
	operators := own
	operators.ID, operators.Subject.Client = "0000000100000003", netip.MustParsePrefix("192.0.2.2/32")
	require.NoError(t, left.Apply(own))
	_, err = left.Decide(operators, "alice")
	require.NoError(t, err)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, left.Run(ended))

	c := config.Default()
	c.State.Dir, c.Mitigate.Mode = state, "enforce"
	p := newProcess(Options{Config: c, Log: logging.Log{Logger: zerolog.Nop()}})
	m, err := newMitigation(p)
	require.NoError(t, err)
	d, err := newDetection(p, nil, m.decided, nil)
	require.NoError(t, err)
	m.feedBack(d.stage)
	require.Len(t, p.node.enforcements(), 2)
	active, err := detection.Ask(t.Context(), d.stage, (*engine.Engine).Active)
	require.NoError(t, err)
	require.Len(t, active, 1)
	assert.Equal(t, own.ID, active[0].ID)
	for _, v := range m.controller.Verdicts() {
		assert.Equal(t, detect.ModeEnforce, v.Verdict.Mode, "the mode of now")
	}
	assert.Equal(t, "alice", m.controller.Verdicts()[1].Who)

	c.Detect.Policies = []policy.Statement{{Name: policy.Stuffing, Action: "tag", Mode: "monitor"}}
	d.reload(c)
	_, err = detection.Ask(t.Context(), d.stage, (*engine.Engine).Stats) // once it has been done
	require.NoError(t, err)
	verdicts := m.controller.Verdicts()
	assert.Equal(t, []any{own.ID, detect.ActionTag, detect.ModeMonitor}, []any{verdicts[0].Verdict.ID, verdicts[0].Verdict.Action, verdicts[0].Verdict.Mode}, "by the policy of now")
	assert.Equal(t, []any{detect.ActionBlock, detect.ModeEnforce}, []any{verdicts[1].Verdict.Action, verdicts[1].Verdict.Mode}, "an operator's has none")
	require.NoError(t, d.stage.Close())
}

func TestOrdersBecomeVerdicts(t *testing.T) {
	now := time.Unix(1_770_000_000, 0)
	v, err := verdictOf(api.Order{
		Action: "rate_limit", TTL: "15m", Reason: "ticket 4711", Rate: &api.Rate{Requests: 10, Per: "60s"},
		Subject: map[string]string{"client.ip": "192.0.2.0/24", "url.domain": "bank.example"},
	}, now)
	require.NoError(t, err)
	assert.Equal(t, detect.ActionRateLimit, v.Action)
	assert.Equal(t, "192.0.2.0/24", v.Subject.Client.String())
	assert.Equal(t, "bank.example", v.Subject.Domain)
	assert.Equal(t, detect.Rate{Requests: 10, Per: 60e9}, v.Rate)
	assert.Equal(t, now.Add(15*time.Minute).UnixNano(), v.Expires)
	assert.Equal(t, "ticket 4711", v.Message)
}
