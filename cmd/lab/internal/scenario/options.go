package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"offpath/cmd/lab/internal/balancer"
	"offpath/cmd/lab/internal/internet"
)

// Options say how the laboratory is run.
type Options struct {
	Balancer string // one of [balancer.Kinds]; "": the first
	Tap      internet.Placement
	Mode     string        // enforce or monitor
	Length   time.Duration // of lead-in and attack together; 0: 55 s, or 25 s with Short
	Short    bool          // everything a little faster, for tests

	// Silent has the load balancer take verdicts and enforce none: offpath has to say so.
	Silent bool

	Offpath string // path of the binary; "": built from this module
	Record  string // path of a recording that is replayed at the end; "": none

	Self    string   // the laboratory's own binary
	Janitor []string // its arguments that lead to the janitor; the run's id follows
	Bank    []string // its arguments that lead to the bank; its flags follow
}

// The shortest and the longest run.
const (
	MinLength = 20 * time.Second
	MaxLength = 2 * time.Hour
)

func (o Options) withDefaults() Options {
	o.Balancer = cmp.Or(o.Balancer, balancer.Kinds()[0])
	if o.Length == 0 {
		o.Length = 55 * time.Second
		if o.Short {
			o.Length = 25 * time.Second
		}
	}
	return o
}

// Validate reports what is wrong with the options.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch {
	case !slices.Contains(balancer.Kinds(), o.Balancer):
		return fmt.Errorf("load balancer %q is none of %s", o.Balancer, strings.Join(balancer.Kinds(), ", "))
	case o.Tap != internet.Front && o.Tap != internet.Back && o.Tap != internet.Both:
		return fmt.Errorf("tap %q is none of front, back, both", o.Tap)
	case o.Mode != "enforce" && o.Mode != "monitor":
		return fmt.Errorf("mode %q is neither enforce nor monitor", o.Mode)
	case o.Silent && (o.Balancer == "nginx" || o.Mode != "enforce" || o.Tap == internet.Back):
		return errors.New("silent goes with haproxy or envoy, mode enforce and a tap at the front or both")
	case o.Length < MinLength || o.Length > MaxLength:
		return fmt.Errorf("length %v is not between %v and %v", o.Length, MinLength, MaxLength)
	}
	return nil
}

// enforced reports whether the attack is to be refused.
func (o Options) enforced() bool { return o.Mode == "enforce" && !o.Silent }

// pace is how a run is divided up.
type pace struct {
	leadIn time.Duration // ordinary time before the attack
	attack time.Duration
	rampUp time.Duration // in which the attackers start
	rate   float64       // of the stuffing client once all have started, requests/s
	visits float64       // customers' sessions begun per second
	manual time.Duration // of the attack before the operator's own verdict
	report time.Duration // between two lines of counters
	// ttl of verdicts is short, so that they must be renewed while refusals are all
	// that is seen of the attack.
	ttl time.Duration
}

const (
	customers = 6000
	bots      = 48
)

func (o Options) pace() pace {
	p := pace{leadIn: 15 * time.Second, rampUp: 30 * time.Second, rate: 72, visits: 26, report: 5 * time.Second, ttl: 20 * time.Second}
	if o.Short {
		p.leadIn, p.rampUp, p.rate, p.ttl = 10*time.Second, 5*time.Second, 96, 6*time.Second
	}
	if o.Length > 3*time.Minute {
		p.report = 15 * time.Second
	}
	p.leadIn = min(p.leadIn, o.Length*2/5)
	p.attack = o.Length - p.leadIn
	p.rampUp = min(p.rampUp, p.attack*3/4)
	p.manual = p.attack * 2 / 5
	p.ttl = min(p.ttl, p.attack/2)
	return p
}

// programs that the laboratory runs beside the load balancer, and the Debian packages that have them.
var programs = [][2]string{{"hydra", "hydra"}, {"ip", "iproute2"}, {"tc", "iproute2"}, {"ethtool", "ethtool"}}

// Prepared reports what this machine lacks for running the laboratory with a kind of load
// balancer.
func Prepared(kind string) error {
	if os.Geteuid() != 0 {
		return errors.New("the laboratory makes network namespaces and needs root: run it as root, or with sudo")
	}
	packages, mend := balancer.Missing(kind)
	if mend != "" {
		return errors.New(mend)
	}
	missing := slices.Clone(packages)
	for _, p := range programs {
		if _, err := exec.LookPath(p[0]); err != nil {
			missing, packages = append(missing, p[0]), append(packages, p[1])
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing programs: %s; on Debian: apt-get install %s", strings.Join(missing, ", "), strings.Join(packages, " "))
	}
	return nil
}
