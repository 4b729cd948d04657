package traffic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Scenario is a kind of traffic of which seeds draw examples.
type Scenario struct {
	Name string
	// About says in one line what it is and at what scale it is simulated.
	About string
	// Attack says that there is one; else whatever is found is a false alarm.
	Attack bool
	// Weigh says that the memory of a detector is to be weighed at its end.
	Weigh bool
	// Long says that it takes minutes: it is run only when asked for by name.
	Long bool

	open func(c *casting)
}

// casting is a scenario being drawn.
type casting struct {
	key       uint64  // of all that is drawn
	failing   float64 // share of honest logins
	rand      *rand.Rand
	world     *world
	people    *people
	producers []producer
	run       *Run
}

// Run is a scenario with a seed.
type Run struct {
	*Stream
	// Onset is the event time at which what the scenario is about begins, ns
	// since the epoch.
	Onset int64
	// Stop is the event time after which no visit begins.
	Stop int64
	// Notes say what the seed has drawn.
	Notes []string
}

// Scenarios lists all, in the order in which they are reported.
func Scenarios() []Scenario { return slices.Clone(scenarios) }

// Select finds the scenarios whose names are given. Where none has the name, those
// that begin with it and a dash are meant: B2 stands for B2-50 and B2-5.
func Select(names []string) ([]Scenario, error) {
	var list []Scenario
	for _, name := range names {
		found := len(list)
		for _, is := range []func(string) bool{
			func(s string) bool { return s == name },
			func(s string) bool { return strings.HasPrefix(s, name+"-") },
		} {
			for _, s := range scenarios {
				if is(s.Name) {
					list = append(list, s)
				}
			}
			if len(list) > found {
				break
			}
		}
		if len(list) == found {
			var names []string
			for _, s := range scenarios {
				names = append(names, s.Name)
			}
			return nil, fmt.Errorf("scenario %q: there is none of that name, but %s", name, strings.Join(names, " "))
		}
	}
	return list, nil
}

// Open draws the example of a scenario that a seed stands for. The same seed
// gives the same traffic. Scenarios whose names agree up to a dash (B4-A4, B4-A5)
// have the same banks; others do not.
func (s Scenario) Open(seed uint64) *Run {
	family, _, _ := strings.Cut(s.Name, "-")
	key := seed
	for i := range len(family) {
		key = mix(key, uint64(family[i]))
	}
	c := &casting{key: key, failing: failureRates[seed%uint64(len(failureRates))], rand: rand.New(rand.NewPCG(key, 1)), run: new(Run)}
	s.open(c)
	w := c.world
	c.run.Notes = append([]string{fmt.Sprintf("%.0f %% fail, %d login endpoints, %.1f logins/s", 100*w.failing, len(w.endpoints), w.rate)}, c.run.Notes...)
	c.run.Stream = newStream(w, append([]producer{c.people}, c.producers...)...)
	return c.run
}

// begin draws a bank and its customers: how long it is quiet, and for how long
// then something happens.
func (c *casting) begin(endpoints int, accounts uint64, rate float64, before, during time.Duration) {
	c.world = newWorld(c.key, c.failing, endpoints, accounts, rate)
	c.run.Onset = c.world.start + before.Nanoseconds()
	c.run.Stop = c.run.Onset + during.Nanoseconds()
	c.people = newPeople(c.world, c.run.Stop)
}

func (c *casting) add(p producer) { c.producers = append(c.producers, p) }

func (c *casting) note(format string, args ...any) {
	c.run.Notes = append(c.run.Notes, fmt.Sprintf(format, args...))
}

// minutes draws a length of time.
func (c *casting) minutes(low, high float64) time.Duration {
	return time.Duration(between(c.rand, low, high) * float64(time.Minute))
}

// attack draws one at a share of all logins between onset and stop.
func (c *casting) attack(l level, share float64) *attack {
	a := newAttack(c.world, l, c.run.Onset, c.run.Stop)
	base := 0.0
	const parts = 24
	for i := range int64(parts) {
		base += c.world.rate * c.world.intensity(c.run.Onset+(c.run.Stop-c.run.Onset)*i/parts) / parts
	}
	rate := base * share / (1 - share)
	a.rate = func(int64) float64 { return rate }
	c.add(a)
	c.note("A%d, %.2f %% of logins, %.2f/s at %d endpoints, %d programs", l, 100*share, rate, len(a.targets), len(a.tools)+len(a.later))
	return a
}

var scenarios = []Scenario{
	{Name: "B1", Attack: true, About: "burst: 90 % of logins automated over 1 to 50 endpoints, A1, 200 to 20,000 addresses", open: func(c *casting) { burst(c, c.minutes(12, 25)) }},
	{Name: "B1-cold", Attack: true, About: "B1 from the first second, with nothing before it", open: func(c *casting) { burst(c, 0) }},
	{Name: "B2-50", Attack: true, About: "rotation at 50 % of logins, A1 or A2, one request each of 400,000 to 1,000,000 addresses", open: func(c *casting) { rotation(c, 0.5, 150, 200) }},
	{Name: "B2-5", Attack: true, About: "rotation at 5 % of logins, A1 or A2; of 400,000 to 1,000,000 addresses those of the first hours", open: func(c *casting) { rotation(c, 0.05, 150, 200) }},
	{Name: "B2-ramp", Attack: true, About: "rotation that grows from nothing to 30 % of logins within a day, A2: whoever learns from it learns the attack", open: func(c *casting) {
		c.begin(1+c.rand.IntN(12), 100_000, between(c.rand, 3, 5), c.minutes(6*60, 10*60), c.minutes(24*60, 24*60))
		a := c.attack(levelCopy, 0.3)
		a.pool = newPool(a.rand, &c.world.net, 1<<20, between(c.rand, 0.7, 1))
		full, length := a.rate(0), float64(c.run.Stop-c.run.Onset)
		a.rate = func(now int64) float64 { return full * max(float64(now-c.run.Onset)/length, 0.001) }
	}},
	{Name: "B3", Attack: true, About: "perfect mimic, A3, 5 to 50 % of logins, one request each; after two days of ordinary traffic at 1 to 4 logins/s of 40,000 accounts", open: func(c *casting) { mimicry(c, levelMimic) }},
	{Name: "B4-A4", Attack: true, About: "as B3 with names that exist", open: func(c *casting) { mimicry(c, levelKnown) }},
	{Name: "B4-A5", Attack: true, About: "as B4-A4 from addresses of the customers' own providers", open: func(c *casting) { mimicry(c, levelNear) }},
	{Name: "B4-A6", Attack: true, About: "as B4-A4 from the customers' own households", open: func(c *casting) { mimicry(c, levelInfected) }},
	{Name: "B5", Attack: true, About: "low and slow: 0.5 % of logins for a day, A2 or A3, after a day of ordinary traffic at 5 logins/s", open: func(c *casting) { slow(c, 0.005) }},
	{Name: "B6", Attack: true, About: "as B5 at 0.1 %: below what is known to be possible", open: func(c *casting) { slow(c, 0.001) }},
	{Name: "B7", Attack: true, About: "spraying: one popular password at 100,000 accounts, A1 to A3; the first hours", open: func(c *casting) {
		c.begin(1+c.rand.IntN(6), 100_000, between(c.rand, 5, 15), c.minutes(30, 60), c.minutes(60, 90))
		l := pick(c.rand, []level{levelTool, levelCopy, levelMimic})
		a := c.attack(l, between(c.rand, 0.05, 0.3))
		a.spray, a.known = true, between(c.rand, 0.9, 1)
		a.pool = newPool(a.rand, &c.world.net, 1<<20, between(c.rand, 0.7, 1))
	}},
	{Name: "N1", About: "flash crowd: 20 times the logins for ten minutes", open: flashCrowd},
	{Name: "N2", About: "corporate NAT: 5,000 people behind one address come to work", open: arrivals},
	{Name: "N3", About: "CGNAT: 50,000 app users behind each of a carrier's addresses", open: sharedAddresses},
	{Name: "N4", About: "retry storm: apps of 2 to 5 % of customers repeat a stale password every 1 to 5 s for a while", open: retryStorm},
	{Name: "N5", About: "app release: 50 to 90 % of app users take a new program up over a day", open: appRelease},
	{Name: "N6", About: "health checks: 1 to 4 programs that log in with test accounts every 5 to 60 s, some always in vain", open: healthChecks},
	{Name: "N7", About: "aggregator: 8 % of logins from 4 to 32 addresses of one network, 83 to 96 % of them right", open: aggregation},
	{Name: "N8", About: "forgotten passwords: 8 to 15 times as many as usual for one to three hours", open: forgetting},
	{Name: "N9", About: "outage: for ten minutes no login succeeds, answered with 503, an error of its own, or as a wrong password", open: outage},
	{Name: "N1-attack", Attack: true, About: "N1 during a rotation at 30 % of logins, A2", open: func(c *casting) { flashCrowd(c); amid(c) }},
	{Name: "N2-attack", Attack: true, About: "N2 with attackers among the 5,000, behind the same address: A1, one attempt in 1 to 3 s", open: func(c *casting) { arrivals(c); inside(c) }},
	{Name: "N4-attack", Attack: true, About: "N4 during a rotation at 30 % of logins, A2", open: func(c *casting) { retryStorm(c); amid(c) }},
	{Name: "N9-attack", Attack: true, About: "N9 during a rotation at 30 % of logins, A2", open: func(c *casting) { outage(c); amid(c).down = c.people.down }},
	{Name: "Q", About: "a quiet week of 100,000 logins a day", open: func(c *casting) { quiet(c, 7) }},
	{Name: "M", Weigh: true, About: "memory: a million addresses, accounts and sessions in an hour and a half", open: func(c *casting) {
		c.begin(1+c.rand.IntN(10), 4_000_000, 400, 0, 90*time.Minute)
		c.world.spread, c.world.flat, c.world.carried, c.world.net.six = 0, true, 0, 0
	}},
	{Name: "Q-year", Long: true, About: "a quiet year of 100,000 logins a day", open: func(c *casting) { quiet(c, 365) }},
}

func flashCrowd(c *casting) {
	c.begin(1+c.rand.IntN(10), 300_000, between(c.rand, 4, 8), c.minutes(20, 40), c.minutes(25, 30))
	rise := c.run.Onset
	fall := rise + int64(10*time.Minute)
	c.people.speed = func(now int64) float64 {
		if now >= rise && now < fall {
			return 20
		}
		return 1
	}
}

func arrivals(c *casting) {
	c.begin(1+c.rand.IntN(10), 200_000, between(c.rand, 4, 10), c.minutes(20, 40), c.minutes(100, 140))
	length := c.minutes(40, 90).Nanoseconds()
	c.add(newOffice(c.world, c.run.Onset, length, 5000))
	c.note("within %d minutes", length/60e9)
}

func sharedAddresses(c *casting) {
	c.begin(1+c.rand.IntN(10), 400_000, between(c.rand, 15, 30), c.minutes(30, 30), c.minutes(90, 120))
	c.world.carried = 0.9
	for i := range c.world.net.carriers {
		c.world.net.carriers[i].size = 2
	}
}

func retryStorm(c *casting) {
	c.begin(1+c.rand.IntN(10), 200_000, between(c.rand, 4, 10), c.minutes(20, 40), c.minutes(40, 60))
	share, end := between(c.rand, 0.02, 0.05), c.run.Onset+c.minutes(15, 25).Nanoseconds()
	c.people.stuck = func(account uint64, now int64) bool {
		return now >= c.run.Onset && now < end && unit(mix(account, ofStuck)) < share
	}
	c.note("%.1f %% of customers", 100*share)
}

func appRelease(c *casting) {
	c.begin(1+c.rand.IntN(10), 100_000, between(c.rand, 3, 6), c.minutes(60, 300), c.minutes(24*60, 26*60))
	n := newRelease(c.world, c.rand, c.run.Onset, c.minutes(8*60, 20*60).Nanoseconds())
	c.people.release = n.program
}

func healthChecks(c *casting) {
	c.begin(1+c.rand.IntN(10), 100_000, between(c.rand, 2, 6), 0, c.minutes(6*60, 10*60))
	fail := 0
	for i := range 1 + c.rand.IntN(4) {
		m := newMonitor(c.world, c.rand, uint64(i), c.run.Stop)
		if m.fails {
			fail++
		}
		c.add(m)
	}
	c.note("%d programs, %d of them in vain", len(c.producers), fail)
}

func aggregation(c *casting) {
	c.begin(1+c.rand.IntN(10), 100_000, between(c.rand, 4, 8), 0, c.minutes(6*60, 10*60))
	a := newAggregator(c.world, c.rand, 0.08, c.run.Stop)
	c.add(a)
	c.note("%d addresses, %.0f %% right", len(a.addresses), 100*(1-a.stale))
}

func forgetting(c *casting) {
	c.begin(1+c.rand.IntN(10), 100_000, between(c.rand, 3, 8), c.minutes(60, 180), c.minutes(240, 300))
	times, end := between(c.rand, 8, 15), c.run.Onset+c.minutes(60, 180).Nanoseconds()
	c.people.failing = func(now int64) float64 {
		if now >= c.run.Onset && now < end {
			return times
		}
		return 1
	}
}

func outage(c *casting) {
	c.begin(1+c.rand.IntN(10), 100_000, between(c.rand, 5, 15), c.minutes(40, 90), c.minutes(30, 40))
	how, end := pick(c.rand, []answer{answerDown, answerBroken, answerWrong}), c.run.Onset+int64(10*time.Minute)
	c.people.down = func(now int64) answer {
		if now >= c.run.Onset && now < end {
			return how
		}
		return answerOK
	}
	c.note("answered with %s", map[answer]string{answerDown: "503", answerBroken: "an error", answerWrong: "what a wrong password gets"}[how])
}

// amid is a rotation while something else happens.
func amid(c *casting) *attack {
	a := c.attack(levelCopy, 0.3)
	a.pool = newPool(a.rand, &c.world.net, 1<<20, between(c.rand, 0.7, 1))
	return a
}

// inside is an attack from the address of a company.
func inside(c *casting) {
	a := newAttack(c.world, levelTool, c.run.Onset, c.run.Stop)
	rate := 5 / between(c.rand, 1, 3) // five machines
	a.rate = func(int64) float64 { return rate }
	a.from = c.world.net.offices[0]
	c.add(a)
	c.note("A1, %.2f/s at %d endpoints", rate, len(a.targets))
}

// burst is stuffing from some hundreds or thousands of addresses, again and again.
func burst(c *casting, before time.Duration) {
	c.begin(1+c.rand.IntN(48), 200_000, between(c.rand, 8, 25), before, c.minutes(8, 15))
	a := c.attack(levelTool, 0.9)
	a.pool = newPool(a.rand, &c.world.net, uint64(logBetween(c.rand, 200, 20_000)), between(c.rand, 0.4, 1))
	a.reuse = true
	c.note("%d addresses", a.pool.size)
}

func quiet(c *casting, days int) {
	c.begin(1+c.rand.IntN(10), 60_000, 100_000.0/86400, 0, time.Duration(days)*24*time.Hour)
}

// mimicry is an attack whose requests are those of customers' programs.
func mimicry(c *casting, l level) {
	c.begin(1+c.rand.IntN(6), 40_000, between(c.rand, 1, 4), c.minutes(48*60, 60*60), c.minutes(4*60, 6*60))
	a := c.attack(l, logBetween(c.rand, 0.05, 0.5))
	a.pool = newPool(a.rand, &c.world.net, 1<<20, between(c.rand, 0.8, 1))
}

// slow is an attack that hides in the crowd.
func slow(c *casting, share float64) {
	c.begin(1+c.rand.IntN(6), 100_000, 5, c.minutes(20*60, 26*60), c.minutes(24*60, 24*60))
	a := c.attack(pick(c.rand, []level{levelCopy, levelMimic}), share)
	a.pool = newPool(a.rand, &c.world.net, 1<<20, between(c.rand, 0.8, 1))
}

// rotation is an attack that uses every address once.
func rotation(c *casting, share, shortest, longest float64) {
	c.begin(1+c.rand.IntN(12), 500_000, between(c.rand, 20, 35), c.minutes(30, 60), c.minutes(shortest, longest))
	a := c.attack(pick(c.rand, []level{levelTool, levelCopy, levelCopy}), share)
	a.pool = newPool(a.rand, &c.world.net, uint64(between(c.rand, 400_000, 1_000_000)), between(c.rand, 0.7, 1))
	c.note("of %d addresses", a.pool.size)
}
