// Package attack is the laboratory's attackers: a credential-stuffing client
// that works through a list of stolen pairs from many addresses, and hydra
// against the web form.
//
// A bot is a goroutine with an address and a program of its own; it goes on
// at its pace whatever it is answered. Counters may be read at any time from
// any goroutine.
package attack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/internet"
	"offpath/cmd/lab/internal/software"
)

// Stuffing says how the stuffing client attacks.
type Stuffing struct {
	Directory bank.Directory
	Addresses int           // bots, each with an address
	Rate      float64       // requests per second of all bots together, once all have started
	RampUp    time.Duration // in which the bots start, evenly
	// Dial opens a connection from an address to one of the bank's hosts.
	Dial func(ctx context.Context, from netip.Addr, host string) (net.Conn, error)
}

func (s Stuffing) validate() error {
	if s.Addresses < 1 || s.Addresses > 10000 || s.Rate <= 0 || s.RampUp < 0 || s.Dial == nil {
		return fmt.Errorf("stuffing from %d addresses at %v requests/s within %v: want 1 to 10000, above 0, not below 0, and a dialler", s.Addresses, s.Rate, s.RampUp)
	}
	return nil
}

// Counts are the stuffing client's books. All only grow.
type Counts struct {
	Requests int64 // with a response
	Opened   int64 // accounts opened by a right password
	Refused  int64
	Broken   int64 // another error, or no response
}

// Run attacks until ctx is done and the last answer has come. The counts are
// kept in books.
func (s Stuffing) Run(ctx context.Context, books *Books) error {
	if err := s.validate(); err != nil {
		return err
	}
	var next atomic.Int64
	var bots sync.WaitGroup
	for i := range s.Addresses {
		bots.Go(func() {
			start := s.RampUp * time.Duration(i) / time.Duration(s.Addresses)
			// The tempers differ: from half to one and a half of the mean.
			pace := s.Rate / float64(s.Addresses) * (0.5 + float64(i*7%10)/9)
			s.bot(ctx, i, start, pace, &next, books)
		})
	}
	bots.Wait()
	return nil
}

// Books collects the counts of a running attack.
type Books struct{ requests, opened, refused, broken atomic.Int64 }

// Counts returns the books.
func (b *Books) Counts() Counts {
	return Counts{Requests: b.requests.Load(), Opened: b.opened.Load(), Refused: b.refused.Load(), Broken: b.broken.Load()}
}

// Address is that of a bot: one in twelve has an IPv6 network, the others an
// IPv4 network each.
func Address(bot int) netip.Addr {
	if bot%12 == 5 {
		a := internet.Proxies6.Addr().As16()
		a[6], a[7], a[15] = byte(bot>>8), byte(bot), byte(bot*13)|1
		return netip.AddrFrom16(a)
	}
	a := internet.Proxies.Addr().As4()
	a[2], a[3] = byte(bot), byte(20+bot*29%200)
	if bot > 255 {
		a[3] = byte(220 + bot>>8)
	}
	return netip.AddrFrom4(a)
}

func (s Stuffing) bot(ctx context.Context, bot int, start time.Duration, pace float64, next *atomic.Int64, books *Books) {
	client := software.Client{
		Software: [...]software.Software{software.Requests, software.Mimic, software.Requests, software.FormBot}[bot%4],
		Dial: func(ctx context.Context, host string) (net.Conn, error) {
			return s.Dial(ctx, Address(bot), host)
		},
	}
	defer client.Close()
	// Some claim to be a customer's proxy: a lie that must hit nobody.
	claimed := ""
	if bot%8 == 0 {
		claimed = netip.AddrFrom4([4]byte{internet.Homes.Addr().As4()[0], internet.Homes.Addr().As4()[1], byte(bot), 77}).String()
	}
	for wait := start; ; wait = time.Duration((0.5 + rand.Float64()) / pace * float64(time.Second)) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		pair := list(s.Directory, int(next.Add(1)))
		outcome, _, err := client.Login(context.WithoutCancel(ctx), pair.User, pair.Password, claimed)
		switch {
		case err != nil || outcome == software.Broken:
			books.broken.Add(1)
			continue
		case outcome == software.Refused:
			books.refused.Add(1)
		case outcome == software.Accepted:
			books.opened.Add(1)
		}
		books.requests.Add(1)
	}
}
