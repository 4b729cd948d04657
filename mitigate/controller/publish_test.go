package controller_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/targettest"
)

// publishingTarget is one that consumers fetch from.
type publishingTarget struct {
	*fakeTarget

	mu        sync.Mutex
	fetching  mitigate.Fetching
	unfetched string
}

func (p *publishingTarget) Fetching() mitigate.Fetching {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetching
}

func (p *publishingTarget) Unfetched(mitigate.ID) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unfetched
}

func (p *publishingTarget) Look(context.Context) (string, error) { return "", nil }

func TestAVerdictIsInForceAtAPublisherOnceItIsFetched(t *testing.T) {
	lists := &publishingTarget{fakeTarget: newFake("lists"), unfetched: "published; nobody fetches it"}
	told := make(chan controller.Target, 8)
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lists}, Mode: detect.ModeEnforce, OnTarget: func(s controller.Target) { told <- s }})
	assert.Equal(t, "nobody fetches from it", (<-told).LastError, "it is said at once")
	require.NoError(t, c.Apply(targettest.Block(1, "192.0.2.1")))
	eventually(t, func() bool { return c.Verdicts()[0].Targets[0].Detail == "published; nobody fetches it" }, "published")
	assert.Equal(t, controller.StatePending, c.Verdicts()[0].Targets[0].State)
	s := c.Targets()[0]
	assert.False(t, s.Connected, "that nobody fetches is seen")
	assert.Equal(t, "nobody fetches from it", s.LastError)

	lists.mu.Lock()
	lists.fetching = mitigate.Fetching{Consumers: []mitigate.Consumer{{Name: "a"}, {Name: "b", Late: true}}, Behind: 1, Oldest: time.Minute}
	lists.mu.Unlock()
	s = c.Targets()[0]
	assert.True(t, s.Connected)
	assert.Equal(t, []int{0, 1}, []int{s.InForce, s.Pending})
	assert.Equal(t, time.Minute, s.Lag)

	lists.mu.Lock()
	lists.fetching.Behind, lists.unfetched = 0, ""
	lists.mu.Unlock()
	s = c.Targets()[0]
	assert.Equal(t, []int{1, 0}, []int{s.InForce, s.Pending})
	assert.Equal(t, controller.StateInForce, c.Verdicts()[0].Targets[0].State)
}
