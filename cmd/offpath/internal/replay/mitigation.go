package replay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"offpath/cmd/offpath/internal/wiring"
	"offpath/detect"
	"offpath/mitigate/controller"
)

// deliveryTimeout is how long the load balancers have, at the end, to take the
// last verdicts.
const deliveryTimeout = 10 * time.Second

// mitigation sends the verdicts of a replay to the load balancers.
type mitigation struct {
	controller *controller.Controller
	stop       context.CancelFunc
	done       chan error
	log        func(error, string)
}

// startMitigation reaches out to the configured load balancers. Each has one
// controller, so it is an error if an offpath runs on this host.
func startMitigation(ctx context.Context, o *Options) (*mitigation, error) {
	if socket := o.Config.Admin.Socket; socket != "" {
		if c, err := net.DialTimeout("unix", socket, time.Second); err == nil {
			c.Close()
			return nil, &InputError{fmt.Errorf("--mitigate: an offpath is running here (%s) and rules the load balancers; stop it first", socket)}
		}
	}
	config, err := wiring.Controller(o.Config)
	if err != nil {
		return nil, err
	}
	m := &mitigation{done: make(chan error, 1)}
	m.log = func(err error, id string) { o.Log.Warn().Str("verdict", id).Err(err).Msg("verdict not sent") }
	if m.controller, err = controller.New(config); err != nil {
		return nil, fmt.Errorf("start mitigation: %w", err)
	}
	ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() { m.done <- m.controller.Run(ctx) }()
	return m, nil
}

// apply sends a verdict whose event time may be long past: its lifetime begins
// now.
func (m *mitigation) apply(v *detect.Verdict) {
	sent := *v
	sent.Time = time.Now().UnixNano()
	sent.Expires = sent.Time + v.Expires - v.Time
	if err := m.controller.Apply(sent); err != nil && !errors.Is(err, controller.ErrUnknownVerdict) {
		m.log(err, v.ID)
	}
}

// finish waits until the load balancers have everything, and stops.
func (m *mitigation) finish() error {
	deadline := time.Now().Add(deliveryTimeout)
	late := wiring.Undelivered(m.controller)
	for len(late) > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
		late = wiring.Undelivered(m.controller)
	}
	m.stop()
	if err := <-m.done; err != nil {
		return fmt.Errorf("stop mitigation: %w", err)
	}
	if len(late) > 0 {
		return fmt.Errorf("not all verdicts reached the load balancers: %s", late[0])
	}
	return nil
}
