package netscaler

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"

	"offpath/detect"
)

// maxAllow is the most networks of the allow-list.
const maxAllow = 4096

// SetMode implements [mitigate.Target]: one binding, whatever the number of entries, in force
// before it is saved so that it outlives a reboot.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	switch mode {
	case detect.ModeOff, detect.ModeMonitor, detect.ModeEnforce:
	default:
		return fmt.Errorf("unknown mode %q", mode)
	}
	last := t.ordered.Load()
	err := t.client.bind(ctx, mapBinding, []binding{{Name: modeMap, Key: modeKey, Value: string(mode)}})
	if refusedWith(err, exists) { // with this value, if all is well
		var rows []binding
		if rows, err = t.client.list(ctx, mapBinding, modeMap); err == nil && valueOf(rows, modeKey) != string(mode) {
			err = fmt.Errorf("netscaler: the mode is %q and can't be replaced", valueOf(rows, modeKey))
		}
	}
	if err != nil {
		return err
	}
	// Only now: what is saved meanwhile for another reason does not hold it.
	if last == nil || *last != mode {
		t.unsaved.Store(true)
		t.ordered.Store(&mode)
	}
	if release {
		rows, err := t.client.list(ctx, mapBinding, offMap)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := t.client.unbind(ctx, mapBinding, offMap, "key", row.Key); err != nil {
				return err
			}
			t.unsaved.Store(true)
		}
	}
	return t.save(ctx)
}

// save makes the running configuration the one after a reboot, if something changed that has
// to outlive it: an operator may be trying out something else that is not to.
func (t *Target) save(ctx context.Context) error {
	if !t.unsaved.Swap(false) {
		return nil
	}
	if _, err := t.client.do(ctx, http.MethodPost, "nsconfig?action=save", map[string]any{"nsconfig": struct{}{}}); err != nil {
		t.unsaved.Store(true)
		return fmt.Errorf("it is in force, and not saved: %w", err)
	}
	return nil
}

// Mode implements [mitigate.Target].
func (t *Target) Mode(ctx context.Context) (mode detect.Mode, local bool, err error) {
	off, err := t.client.list(ctx, mapBinding, offMap)
	if err != nil {
		return "", false, err
	}
	if valueOf(off, offKey) != "" {
		return detect.ModeOff, true, nil
	}
	rows, err := t.client.list(ctx, mapBinding, modeMap)
	if err != nil {
		return "", false, err
	}
	if mode := detect.Mode(valueOf(rows, modeKey)); mode == detect.ModeMonitor || mode == detect.ModeEnforce {
		return mode, false, nil
	}
	return detect.ModeOff, false, nil
}

// offKey is the key by which a person at the load balancer turns all off.
const offKey = "off"

// SetAllow implements [mitigate.Target]. The operator's own data sets are not touched. What
// is new is there before what is old goes.
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	if len(allow) > maxAllow {
		return fmt.Errorf("allow-list of %d networks is longer than %d", len(allow), maxAllow)
	}
	for _, p := range allow {
		if !p.IsValid() {
			return fmt.Errorf("allow-list holds an invalid network")
		}
	}
	v4, v6 := allowRows(allow)
	for name, wanted := range map[string]map[string]bool{allow4: v4, allow6: v6} {
		rows, err := t.client.list(ctx, setBinding, name)
		if err != nil {
			return err
		}
		missing := maps.Clone(wanted)
		var old []string
		for _, row := range rows {
			// NITRO may write a network in another way than it was told.
			if value := canonical(row.Value); wanted[value] {
				delete(missing, value)
			} else {
				old = append(old, row.Value)
			}
		}
		var come []binding
		for _, value := range slices.Sorted(maps.Keys(missing)) {
			come = append(come, binding{Name: name, Value: value})
		}
		err = t.client.bind(ctx, setBinding, come)
		if len(come) > 0 {
			t.unsaved.Store(true) // some may be there also when others were refused
		}
		if err != nil {
			return err
		}
		for _, value := range old {
			if err := t.client.unbind(ctx, setBinding, name, "value", value); err != nil {
				return err
			}
			t.unsaved.Store(true)
		}
	}
	return t.save(ctx)
}
