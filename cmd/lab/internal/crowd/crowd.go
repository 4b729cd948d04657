// Package crowd is the bank's customers: thousands of people who now and then
// open the app, the web site or their accounting program, log in (mistyping
// now and then, and then getting it right), look at the balance, sometimes
// transfer money, and leave.
//
// Sessions begin as a Poisson process; each is a goroutine that lives for some
// seconds, at most [maxSessions] at a time (beyond that a customer stays away,
// which is counted). Counters may be read at any time from any goroutine.
package crowd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/software"
)

// Config says who comes and how often.
type Config struct {
	Directory bank.Directory
	// Except is the index of a customer who does not come on their own.
	Except int
	// Rate is sessions begun per second.
	Rate float64
	// Haste divides the time that people take to think; 0: 1.
	Haste float64
	// Dial opens a connection from an address to one of the bank's hosts.
	Dial func(ctx context.Context, from netip.Addr, host string) (net.Conn, error)
}

func (c Config) validate() error {
	if c.Directory.Customers < 100 || c.Rate <= 0 || c.Haste < 0 || c.Dial == nil {
		return fmt.Errorf("crowd of %d customers at %v sessions/s in haste %v: want 100 or more, above 0, not below 0, and a dialler", c.Directory.Customers, c.Rate, c.Haste)
	}
	return nil
}

const maxSessions = 2000

// Counts are the crowd's books. All only grow.
type Counts struct {
	Sessions int64
	Away     int64 // sessions not begun because too many were under way
	Requests int64 // with a response
	Logins   int64 // of them
	Mistyped int64 // logins that the bank rejected
	Refused  int64 // 403 or 429
	Broken   int64 // another error, or no response
}

// Crowd is the customers.
type Crowd struct {
	config Config
	counts struct{ sessions, away, requests, logins, mistyped, refused, broken atomic.Int64 }

	mu          sync.Mutex
	firstBroken error
}

// New gathers a crowd.
func New(c Config) (*Crowd, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Haste == 0 {
		c.Haste = 1
	}
	return &Crowd{config: c}, nil
}

// Counts returns the books.
func (c *Crowd) Counts() Counts {
	return Counts{
		Sessions: c.counts.sessions.Load(), Away: c.counts.away.Load(), Requests: c.counts.requests.Load(),
		Logins: c.counts.logins.Load(), Mistyped: c.counts.mistyped.Load(), Refused: c.counts.refused.Load(), Broken: c.counts.broken.Load(),
	}
}

// FirstBroken returns what was wrong with the first broken exchange.
func (c *Crowd) FirstBroken() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.firstBroken
}

// Run lets customers come until ctx is done, and returns when the last one has
// left: they finish the request under way and go.
func (c *Crowd) Run(ctx context.Context) {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	places := make(chan struct{}, maxSessions)
	for pause(ctx, time.Duration(rand.ExpFloat64()/c.config.Rate*float64(time.Second))) {
		index := rand.IntN(c.config.Directory.Customers)
		if index == c.config.Except {
			continue
		}
		select {
		case places <- struct{}{}:
		default:
			c.counts.away.Add(1)
			continue
		}
		c.counts.sessions.Add(1)
		sessions.Go(func() {
			defer func() { <-places }()
			c.visit(ctx, c.config.Directory.Customer(index))
		})
	}
}

// pause waits; it reports false if ctx was done first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// visit is one session of one customer.
type visit struct {
	crowd    *Crowd
	customer bank.Customer
	client   software.Client
	closing  context.Context // done: time to leave
	ctx      context.Context // of a request
}

func (c *Crowd) visit(ctx context.Context, customer bank.Customer) {
	v := &visit{crowd: c, customer: customer, closing: ctx, ctx: context.WithoutCancel(ctx)}
	v.client = software.Client{Software: program(customer), Dial: func(ctx context.Context, host string) (net.Conn, error) {
		return c.config.Dial(ctx, Address(customer), host)
	}}
	// One in five opens a connection for each request.
	v.client.Software.Fresh = v.client.Software.Fresh || customer.Index%5 == 0
	defer v.client.Close()
	switch v.client.Software.Channel {
	case bank.Mobile:
		v.mobile()
	case bank.Web:
		v.web()
	default:
		v.logIn()
	}
}

func (v *visit) mobile() {
	if !v.do(software.Request{Method: http.MethodGet, Path: "/api/v2/mobile/config"}) || !v.think(1200) {
		return
	}
	session, ok := v.logIn()
	if !ok {
		return
	}
	get := software.Request{Method: http.MethodGet, Path: "/api/v2/accounts", Bearer: session.Bearer}
	if !v.do(get) || !v.think(800) {
		return
	}
	get.Path = "/api/v2/accounts/" + v.customer.Account + "/balance"
	if !v.do(get) || !v.think(4000) || rand.IntN(100) >= 20 {
		return
	}
	v.do(software.Request{Method: http.MethodPost, Path: "/api/v2/transfers", Bearer: session.Bearer, ContentType: "application/json; charset=utf-8",
		Body: fmt.Sprintf(`{"from":%q,"to":"DE%020d","amount":"%d.%02d","currency":"EUR"}`, v.customer.Account, rand.IntN(1e9), rand.IntN(900)+1, rand.IntN(100))})
}

func (v *visit) web() {
	if !v.do(software.Request{Method: http.MethodGet, Path: "/login"}) || !v.think(2500) {
		return
	}
	session, ok := v.logIn()
	if !ok {
		return
	}
	get := software.Request{Method: http.MethodGet, Path: "/account", Cookie: session.Cookie}
	if !v.do(get) || !v.think(5000) || rand.IntN(100) >= 20 {
		return
	}
	post := software.Request{Method: http.MethodPost, Path: "/transfer", Cookie: session.Cookie,
		ContentType: "application/x-www-form-urlencoded", Body: fmt.Sprintf("to=DE%020d&amount=%d.00", rand.IntN(1e9), rand.IntN(900)+1)}
	if v.do(post) {
		get.Path = "/account?done=1"
		v.do(get)
	}
}

// logIn logs in as people do: 7 % mistype the password and correct it, a few of
// them at the second try, and a few have forgotten it and give up after three:
// 8 failures in 100 sessions.
func (v *visit) logIn() (software.Session, bool) {
	wrong := 0
	switch n := rand.IntN(1000); {
	case n < 5:
		wrong = 3
	case n < 10:
		wrong = 2
	case n < 70:
		wrong = 1
	}
	for try := 0; ; try++ {
		password := v.customer.Password
		if try < wrong {
			at := rand.IntN(len(password))
			password = password[:at] + password[at+1:]
		}
		outcome, session, err := v.client.Login(v.ctx, v.customer.User, password, "")
		if err == nil {
			v.crowd.counts.logins.Add(1)
			if outcome == software.Rejected {
				v.crowd.counts.mistyped.Add(1)
			}
		}
		if !v.settle(outcome, err) {
			return session, false
		}
		if outcome == software.Accepted {
			return session, true
		}
		if try == 2 || !v.think(2500) {
			return session, false
		}
		if v.client.Software.Channel == bank.Web && !v.do(software.Request{Method: http.MethodGet, Path: "/login?error=1"}) {
			return session, false
		}
	}
}

// do sends a request other than a login and reports whether all is well.
func (v *visit) do(r software.Request) bool {
	response, err := v.client.Do(v.ctx, r)
	if err != nil {
		return v.settle(software.Broken, err)
	}
	outcome := response.Outcome()
	if outcome == software.Broken {
		err = fmt.Errorf("status %d", response.Status)
	}
	return v.settle(outcome, err)
}

// settle enters an exchange into the books and reports whether the session
// goes on.
func (v *visit) settle(outcome software.Outcome, err error) bool {
	c := v.crowd
	switch {
	case outcome == software.Broken:
		c.counts.broken.Add(1)
		if err == nil {
			err = errors.New("unexpected answer to a login")
		}
		c.mu.Lock()
		if c.firstBroken == nil {
			c.firstBroken = fmt.Errorf("%s with %s from %v: %w", v.customer.User, v.client.Software.Name, Address(v.customer), err)
		}
		c.mu.Unlock()
		return false
	case outcome == software.Refused:
		c.counts.requests.Add(1)
		c.counts.refused.Add(1)
		return false
	}
	c.counts.requests.Add(1)
	return v.closing.Err() == nil
}

// think waits about so many milliseconds.
func (v *visit) think(mean float64) bool {
	ms := mean * (0.4 + rand.ExpFloat64()*0.6) / v.crowd.config.Haste
	return pause(v.closing, time.Duration(ms*float64(time.Millisecond)))
}
