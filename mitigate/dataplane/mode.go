package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"offpath/detect"
)

// Keys of the map of the mode.
const (
	modeKey = "mode"
	offKey  = "off" // while it is there nothing is enforced, whatever its value
)

// maxAllow is the most networks of the allow-list.
const maxAllow = 4096

// SetMode implements [mitigate.Target]: one line of a map of its own, whose file follows
// before the answer.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	switch mode {
	case detect.ModeOff, detect.ModeMonitor, detect.ModeEnforce:
	default:
		return fmt.Errorf("unknown mode %q", mode)
	}
	err := t.client.put(ctx, modeMap, line{modeKey, string(mode)}, syncNow, true)
	if err != nil || !release {
		return t.client.prepared(ctx, err)
	}
	h, err := t.client.list(ctx, modeMap)
	if err != nil {
		return err
	}
	if _, there := h.lines[offKey]; !there {
		return nil
	}
	missing, err := t.client.drop(ctx, modeMap, offKey, syncNow)
	if err != nil || !missing {
		return err
	}
	if h, err = t.client.list(ctx, modeMap); err != nil {
		return err
	}
	if _, there := h.lines[offKey]; there {
		return errors.New("data plane api: it says that there is no order to be off, and lists one: it can't reach HAProxy")
	}
	return nil
}

// Mode implements [mitigate.Target].
func (t *Target) Mode(ctx context.Context) (mode detect.Mode, local bool, err error) {
	h, err := t.client.list(ctx, modeMap)
	if err != nil {
		return "", false, err
	}
	if _, off := h.lines[offKey]; off {
		return detect.ModeOff, true, nil
	}
	switch mode := detect.Mode(h.lines[modeKey]); mode {
	case detect.ModeMonitor, detect.ModeEnforce:
		return mode, false, nil
	}
	return detect.ModeOff, false, nil
}

// SetAllow implements [mitigate.Target]. The operator's own file is not touched.
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	if len(allow) > maxAllow {
		return fmt.Errorf("allow-list of %d networks is longer than %d", len(allow), maxAllow)
	}
	wanted := make(map[string]string, len(allow))
	for _, p := range allow {
		if !p.IsValid() {
			return fmt.Errorf("allow-list holds an invalid network")
		}
		wanted[p.Masked().String()] = "1"
	}
	t.allowMu.Lock()
	defer t.allowMu.Unlock()
	h, err := t.client.list(ctx, allowLiveMap)
	if err != nil {
		return err
	}
	if h.holds(wanted) {
		return t.client.follow(ctx, allowLiveMap, syncAddress)
	}
	return t.client.replace(ctx, allowLiveMap, linesOf(wanted), padAddress)
}
