package nginxplus

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"offpath/detect"
	"offpath/mitigate"
)

// Keys of the zone of the mode.
const (
	modeKey = "mode"
	offKey  = "off"
	notOff  = "0" // the value of offKey that means the same as none
)

// maxAllow is the most networks of the allow-list.
const maxAllow = 4096

// SetMode implements [mitigate.Target]: one record, whatever the number of entries.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	switch mode {
	case detect.ModeOff, detect.ModeMonitor, detect.ModeEnforce:
	default:
		return fmt.Errorf("unknown mode %q", mode)
	}
	if err := t.client.put(ctx, modeZone, write{key: modeKey, value: string(mode)}); err != nil || !release {
		return err
	}
	// Written, not deleted: a deletion is not passed on to other nodes.
	return t.client.change(ctx, modeZone, offKey, notOff)
}

// Mode implements [mitigate.Target].
func (t *Target) Mode(ctx context.Context) (mode detect.Mode, local bool, err error) {
	zone, err := t.client.zone(ctx, modeZone)
	if err != nil {
		return "", false, err
	}
	if off := zone[offKey]; off != "" && off != notOff {
		return detect.ModeOff, true, nil
	}
	switch mode := detect.Mode(zone[modeKey]); mode {
	case detect.ModeMonitor, detect.ModeEnforce:
		return mode, false, nil
	}
	return detect.ModeOff, false, nil
}

// SetAllow implements [mitigate.Target]. What is added comes first. The operator's own
// file is not touched.
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	if len(allow) > maxAllow {
		return fmt.Errorf("allow-list of %d networks is longer than %d", len(allow), maxAllow)
	}
	t.allowMu.Lock()
	defer t.allowMu.Unlock()
	zone, err := t.client.zone(ctx, allowZone)
	if err != nil {
		return err
	}
	const yes = "1"
	var rows, gone []write
	allow = slices.Clone(allow)
	for i, p := range allow {
		if !p.IsValid() {
			return fmt.Errorf("allow-list holds an invalid network")
		}
		allow[i] = p.Masked()
	}
	slices.SortFunc(allow, comparePrefixes)
	for _, p := range slices.Compact(allow) {
		key := p.String()
		if p.IsSingleIP() {
			key = p.Addr().String()
		}
		if zone[key] != yes {
			rows = append(rows, write{key: key, value: yes})
		}
		delete(zone, key)
	}
	for _, key := range slices.Sorted(maps.Keys(zone)) {
		gone = append(gone, write{key: key})
	}
	rejections, err := t.client.each(ctx, rows, func(ctx context.Context, w write) error { return t.client.put(ctx, allowZone, w) })
	if err == nil && len(rejections) == 0 {
		rejections, err = t.client.each(ctx, gone, func(ctx context.Context, w write) error { return t.client.change(ctx, allowZone, w.key, nil) })
	}
	if err == nil && len(rejections) > 0 {
		err = &mitigate.RejectedError{Target: t.options.Name, Rejections: rejections}
	}
	return err
}
