package turn_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/turn"
)

func TestOneHasItAtATime(t *testing.T) {
	it := turn.New()
	n := 0
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			assert.NoError(t, it.Take(t.Context()))
			n++
			it.End()
		})
	}
	wg.Wait()
	assert.Equal(t, 100, n)
}

func TestWhoWaitsWaitsNoLongerThanTheContext(t *testing.T) {
	it := turn.New()
	require.NoError(t, it.Take(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, it.Take(ctx), context.DeadlineExceeded)
	it.End()
	assert.Error(t, it.Take(ctx), "nor begins after its end")
	assert.NoError(t, it.Take(t.Context()))
}

func TestWhoTriesDoesNotWait(t *testing.T) {
	it := turn.New()
	assert.True(t, it.Try())
	assert.False(t, it.Try())
	it.End()
	assert.True(t, it.Try())
}

func TestWhyTheWaitEndedIsTold(t *testing.T) {
	it := turn.New()
	require.True(t, it.Try())
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	assert.ErrorIs(t, it.Take(ctx), stopped)
}
