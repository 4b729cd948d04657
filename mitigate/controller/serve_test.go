package controller_test

import (
	"context"
	"sync/atomic"
	"testing"

	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/targettest"
)

// servingTarget has work of its own, which fails the first time.
type servingTarget struct {
	*fakeTarget
	begun   atomic.Int32
	serving atomic.Bool
}

func (s *servingTarget) Run(ctx context.Context) error {
	if s.begun.Add(1) == 1 {
		return errDown
	}
	s.serving.Store(true)
	defer s.serving.Store(false)
	<-ctx.Done()
	return ctx.Err()
}

func TestATargetsOwnWorkRunsAsLongAsTheControllerAndAgainAfterAFailure(t *testing.T) {
	lb := &servingTarget{fakeTarget: newFake("lb1")}
	c, stop := targettest.Running(t, controller.Config{Targets: []mitigate.Target{lb}})
	eventually(t, lb.serving.Load, "it serves again")
	eventually(t, func() bool { return c.Targets()[0].Connected }, "the failure is over")
	eventually(t, func() bool { return c.Targets()[0].Errors > 0 }, "and was counted")
	stop()
	eventually(t, func() bool { return !lb.serving.Load() }, "it ended")
}
