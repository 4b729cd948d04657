package scenario

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/crowd"
	"offpath/cmd/lab/internal/software"
)

// probeCustomer is the index of the customer whom the operator refuses by
// hand: one with an address of their own and the Android app.
const probeCustomer = 6

const (
	probePatience = 3 * time.Second // for an order to act
	probeRefused  = 8               // logins tried while refused
	probeInterval = 200 * time.Millisecond
)

// probe is a customer who is refused by hand and then let in again.
type probe struct {
	stage    *stage
	customer bank.Customer
	client   software.Client

	id            string // of the operator's verdict
	refused       int    // logins refused by it
	refusedAfter  time.Duration
	acceptedAfter time.Duration
	// What came later must be no refusal.
	later        int // requests
	laterRefused int
	laterBroken  int
}

func newProbe(s *stage) *probe {
	dial := s.dialler(s.net.Customers)
	p := &probe{stage: s, customer: s.directory().Customer(probeCustomer)}
	p.client = software.Client{Software: software.Android, Dial: func(ctx context.Context, host string) (net.Conn, error) {
		return dial(ctx, p.address(), host)
	}}
	return p
}

func (p *probe) address() netip.Addr { return crowd.Address(p.customer) }

func (p *probe) logIn(ctx context.Context) (software.Outcome, error) {
	outcome, _, err := p.client.Login(ctx, p.customer.User, p.customer.Password, "")
	return outcome, err
}

// await logs in again and again until the outcome is the wanted one, and
// returns how long after the order that was.
func (p *probe) await(ctx context.Context, order time.Time, want software.Outcome, what string) (time.Duration, error) {
	for {
		outcome, err := p.logIn(ctx)
		switch {
		case err != nil:
			return 0, err
		case outcome == want:
			return time.Since(order), nil
		case time.Since(order) > probePatience:
			return 0, fmt.Errorf("%v is not %s %v after the order", p.address(), what, probePatience)
		}
		if !pause(ctx, probeInterval/10) {
			return 0, ctx.Err()
		}
	}
}

// perform has the customer refused by an operator's verdict, tries on, and
// has the verdict lifted.
func (p *probe) perform(ctx context.Context) (err error) {
	if _, err := p.await(ctx, time.Now(), software.Accepted, "let in"); err != nil {
		return err
	}
	order := time.Now()
	if p.id, err = p.stage.sensor.Block(ctx, p.address(), 10*time.Minute, "laboratory: refused by hand"); err != nil {
		return err
	}
	if p.refusedAfter, err = p.await(ctx, order, software.Refused, "refused"); err != nil {
		return err
	}
	p.stage.time.Say("by hand: the customer at %v is refused (%v after the order)", p.address(), p.refusedAfter.Round(time.Millisecond))
	for p.refused = 1; p.refused < probeRefused; p.refused++ {
		if !pause(ctx, probeInterval) {
			return ctx.Err()
		}
		outcome, err := p.logIn(ctx)
		if err != nil {
			return err
		}
		if outcome != software.Refused {
			return fmt.Errorf("%v is let in although verdict %s stands", p.address(), p.id)
		}
	}
	order = time.Now()
	if err := p.stage.sensor.Lift(ctx, p.id); err != nil {
		return err
	}
	if p.acceptedAfter, err = p.await(ctx, order, software.Accepted, "let in"); err != nil {
		return err
	}
	p.stage.time.Say("by hand: lifted, and let in again (%v after the order)", p.acceptedAfter.Round(time.Millisecond))
	return nil
}

// goOn has the customer log in now and then until ctx is done.
func (p *probe) goOn(ctx context.Context) {
	defer p.client.Close()
	for pause(ctx, 2*probeInterval) {
		outcome, err := p.logIn(context.WithoutCancel(ctx))
		p.later++
		switch {
		case outcome == software.Refused:
			p.laterRefused++
		case err != nil || outcome != software.Accepted:
			p.laterBroken++
		}
	}
}
