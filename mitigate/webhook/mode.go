package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"offpath/detect"
	"offpath/mitigate"
)

// SetAllow implements [mitigate.Target].
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	t.sending.Lock()
	defer t.sending.Unlock()
	m := t.message(typeAllow)
	m.Data.Networks = append([]netip.Prefix{}, allow...)
	return t.rejected(t.deliver(ctx, m, len(t.repetitions)+1))
}

// rejected makes a refusal of a message without verdicts a rejection.
func (t *Target) rejected(err error) error {
	var refused *refusedError
	if errors.As(err, &refused) {
		return &mitigate.RejectedError{Target: t.options.Name, Rejections: []mitigate.Rejection{{Answer: refused.answer.String()}}}
	}
	return err
}

// SetMode implements [mitigate.Target]. It waits for no other message, and not for a
// receiver that asked to be left alone: a kill switch is one try at once, and one every
// few seconds.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	if mode != detect.ModeOff && mode != detect.ModeMonitor && mode != detect.ModeEnforce {
		return fmt.Errorf("unknown mode %q", mode)
	}
	t.mu.Lock()
	if mode != t.ordered || release {
		t.modes = pause{}
	}
	t.ordered = mode
	err := t.modes.wait(time.Now())
	t.mu.Unlock()
	if err != nil {
		return err
	}
	m := t.message(typeMode)
	m.Data.Mode, m.Data.Release = mode, release
	body, err := m.encode()
	if err != nil {
		return err
	}
	keys, err := t.keys()
	var a answer
	if err == nil {
		a, err = t.post(ctx, keys, t.messageID(m), body)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		longest, asked := maxPause, a.retry
		if mode == detect.ModeOff {
			longest, asked = maxOffPause, 0
		}
		t.modes.failed(err, asked, t.firstPause, longest, time.Now())
		return t.rejected(err)
	}
	t.modes = pause{}
	t.mode, t.off = mode, a.off
	return nil
}

// Mode implements [mitigate.Target]: the mode that the receiver last said yes to, or that
// it said it was turned off. While it can't be reached its mode is not known.
func (t *Target) Mode(context.Context) (mode detect.Mode, local bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.pause.cause != nil:
		return "", false, t.pause.cause
	case t.off:
		return detect.ModeOff, true, nil
	}
	return cmp.Or(t.mode, detect.ModeOff), false, nil
}
