package pacer

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRequestsAreKeptApartWhoeverAsks(t *testing.T) {
	p := Pacer{Interval: 20 * time.Millisecond}
	began := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { assert.NoError(t, p.Wait(t.Context())) })
	}
	wg.Wait()
	assert.GreaterOrEqual(t, time.Since(began), 3*p.Interval)
}

func TestWhoIsNotToWaitLongerGoesWithoutATurn(t *testing.T) {
	p := Pacer{Interval: time.Hour}
	require.NoError(t, p.Wait(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, p.Wait(ctx), context.DeadlineExceeded)
}

func TestTheOthersWaitForARequestThatDoesNot(t *testing.T) {
	p := Pacer{Interval: 20 * time.Millisecond}
	began := time.Now()
	for range 3 {
		p.Pass()
	}
	require.NoError(t, p.Wait(t.Context()))
	assert.GreaterOrEqual(t, time.Since(began), 3*p.Interval)
}
