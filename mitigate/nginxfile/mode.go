package nginxfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"offpath/detect"
)

// offName is the file by which a person turns this nginx off.
const offName = "off"

// SetMode implements [mitigate.Target]: files are made or removed, and nginx sees it at the
// next request. Where both are there it takes monitor, so that no order of steps enforces
// what is not to be.
func (t *Target) SetMode(ctx context.Context, mode detect.Mode, release bool) error {
	var steps []func() error
	switch mode {
	case detect.ModeOff:
		steps = append(steps, t.remove(string(detect.ModeEnforce)), t.remove(string(detect.ModeMonitor)))
	case detect.ModeMonitor:
		steps = append(steps, t.make(string(detect.ModeMonitor)), t.remove(string(detect.ModeEnforce)))
	case detect.ModeEnforce:
		steps = append(steps, t.make(string(detect.ModeEnforce)), t.remove(string(detect.ModeMonitor)))
	default:
		return fmt.Errorf("unknown mode %q", mode)
	}
	if release {
		steps = append(steps, t.remove(offName))
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("set the mode of nginx: %w", err)
		}
	}
	if err := syncDir(t.options.Dir); err != nil {
		return fmt.Errorf("set the mode of nginx: %w", err)
	}
	s, err := t.ask(ctx)
	if err != nil {
		return err
	}
	if s.mode != mode && !s.local {
		return fmt.Errorf("nginx says that its mode is %s, not %s: its workers have to be able to enter %s", s.mode, mode, t.options.Dir)
	}
	return nil
}

func (t *Target) make(name string) func() error {
	return func() error {
		f, err := os.OpenFile(filepath.Join(t.options.Dir, name), os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		return f.Close()
	}
}

func (t *Target) remove(name string) func() error {
	return func() error {
		if err := os.Remove(filepath.Join(t.options.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
}

// Mode implements [mitigate.Target]: as nginx sees it.
func (t *Target) Mode(ctx context.Context) (mode detect.Mode, local bool, err error) {
	s, err := t.ask(ctx)
	return s.mode, s.local, err
}
