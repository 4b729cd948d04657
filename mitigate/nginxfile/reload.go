package nginxfile

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// look is how often it is looked at whether nginx has carried out a reload: it takes a
// tenth of a second at least.
const look = 10 * time.Millisecond

// put has nginx enforce a list, and returns when requests are treated so. The caller holds
// the list.
func (t *Target) put(ctx context.Context, next list) error {
	select {
	case <-time.After(time.Until(t.reloaded.Add(t.options.Interval))):
	case <-ctx.Done():
		return fmt.Errorf("wait for the next reload of nginx: %w", context.Cause(ctx))
	}
	t.known, t.wanted = nil, &next // until it is in force, what is there is not known
	m, err := t.findMaster()
	if err != nil {
		return err
	}
	if err := t.writeList(ctx, next.render(time.Now())); err != nil {
		return err
	}
	t.unsure = true
	err = t.reload(ctx, m, next.generation)
	t.reloaded = time.Now()
	if err != nil {
		return err
	}
	t.known, t.unsure = &next, false
	return nil
}

// reload has a master read its configuration again. It returns when no worker of before
// accepts connections and one of after has the list of a generation.
func (t *Target) reload(ctx context.Context, m master, generation string) error {
	ctx, cancel := context.WithTimeout(ctx, t.options.ReloadTimeout)
	defer cancel()
	before, err := m.workers()
	if err != nil {
		return err
	}
	if err := m.signal(syscall.SIGHUP); err != nil {
		return err
	}
	began := time.Now()
	for {
		if carried, err := t.carriedOut(ctx, m, before, generation); err != nil || carried {
			return err
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return fmt.Errorf("nginx has not taken its new configuration over within %s, and goes on with the one before: see `nginx -t` and its error log", time.Since(began).Round(time.Millisecond))
		}
	}
}

func (t *Target) carriedOut(ctx context.Context, m master, before map[int]bool, generation string) (bool, error) {
	if now, err := statOf(m.pid); err != nil || now.start != m.start {
		return false, fmt.Errorf("nginx's master %d ended while it was to reload", m.pid)
	}
	workers, err := m.workers()
	if err != nil {
		return false, err
	}
	for pid := range workers {
		if before[pid] {
			return false, nil
		}
	}
	if len(workers) == 0 {
		return false, nil
	}
	// With the old ones gone, an answer is that of a new one. None may just mean that it
	// is busy: the time that there is decides.
	s, err := t.ask(ctx)
	return err == nil && s.generation == generation && workers[s.worker], nil
}
