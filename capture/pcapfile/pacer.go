package pcapfile

import (
	"context"
	"time"
)

// pacerGrain is how early a packet may be: waits below it aren't worth a round
// of their own.
const pacerGrain = time.Millisecond

// pacer says when packets are due. It is the only place where a capture file
// meets the wall clock.
type pacer struct {
	speed float64 // event time per wall time; 0: everything is due at once

	began bool
	wall  time.Time // of the first packet
	event int64     // of the first packet, ns
}

// wait returns how long it is until a packet of the given clock is due, or 0.
func (p *pacer) wait(clock int64) time.Duration {
	if p.speed == 0 {
		return 0
	}
	return p.ahead(clock)
}

func (p *pacer) ahead(clock int64) time.Duration {
	if !p.began {
		p.began, p.wall, p.event = true, time.Now(), clock
	}
	ahead := float64(clock-p.event)/p.speed - float64(time.Since(p.wall))
	if ahead < float64(pacerGrain) {
		return 0
	}
	return time.Duration(min(ahead, float64(time.Hour))) // asked again after that
}

// sleep waits, and returns the context's error if that is done first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
