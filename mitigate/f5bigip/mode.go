package f5bigip

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"offpath/detect"
)

// modeKey is the record of the data group of the mode.
const modeKey = "mode"

// maxAllow is the most networks of the allow-list.
const maxAllow = 4096

// SetMode implements [mitigate.Target]: one record, whatever the number of entries, in force
// before it is saved so that it outlives a reboot.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	switch mode {
	case detect.ModeOff, detect.ModeMonitor, detect.ModeEnforce:
	default:
		return fmt.Errorf("unknown mode %q", mode)
	}
	if err := t.replace(ctx, modeGroup, []row{{modeKey, string(mode)}}); err != nil {
		return err
	}
	if release {
		if err := t.replace(ctx, offGroup, []row{}); err != nil {
			return err
		}
	}
	return t.save(ctx)
}

func (t *Target) replace(ctx context.Context, name string, rows []row) error {
	_, err := t.client.do(ctx, http.MethodPatch, t.group(name), "", records(rows))
	return prepared(err)
}

// save makes the running configuration the one after a reboot.
func (t *Target) save(ctx context.Context) error {
	_, err := t.client.do(ctx, http.MethodPost, "/mgmt/tm/sys/config", "", map[string]string{"command": "save"})
	if err != nil {
		return fmt.Errorf("it is in force, and not saved: %w", err)
	}
	return nil
}

// Mode implements [mitigate.Target].
func (t *Target) Mode(ctx context.Context) (mode detect.Mode, local bool, err error) {
	off, err := t.read(ctx, offGroup, typeString)
	if err != nil {
		return "", false, err
	}
	if len(off.Records) > 0 {
		return detect.ModeOff, true, nil
	}
	g, err := t.read(ctx, modeGroup, typeString)
	if err != nil {
		return "", false, err
	}
	for _, r := range g.Records {
		if mode := detect.Mode(r.Data); r.Name == modeKey && (mode == detect.ModeMonitor || mode == detect.ModeEnforce) {
			return mode, false, nil
		}
	}
	return detect.ModeOff, false, nil
}

// SetAllow implements [mitigate.Target]. The operator's own list is not touched.
func (t *Target) SetAllow(ctx context.Context, allow []netip.Prefix) error {
	if len(allow) > maxAllow {
		return fmt.Errorf("allow-list of %d networks is longer than %d", len(allow), maxAllow)
	}
	allow = slices.Clone(allow)
	for i, p := range allow {
		if !p.IsValid() {
			return fmt.Errorf("allow-list holds an invalid network")
		}
		allow[i] = p.Masked()
	}
	slices.SortFunc(allow, comparePrefixes)
	rows := []row{}
	for _, p := range slices.Compact(allow) {
		rows = append(rows, row{Name: p.String()})
	}
	if err := t.replace(ctx, allowGroup, rows); err != nil {
		return err
	}
	return t.save(ctx)
}
