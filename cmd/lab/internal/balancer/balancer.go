// Package balancer runs a real load balancer in front of the bank (HAProxy, nginx with Lua,
// or Envoy), configured as an operator would configure it: with what `offpath target-config`
// prints, put where the print says.
//
// Its log, one line a request, goes to the laboratory ([Journal]): an
// independent witness of what was refused and when. A Balancer's methods may
// be called from any goroutine.
package balancer

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"offpath/cmd/lab/internal/child"
	"offpath/cmd/lab/internal/internet"
)

// Config says what to start.
type Config struct {
	Kind      string         // one of [Kinds]
	Dir       string         // folder for configuration and sockets
	Namespace string         // network namespace of the load balancer
	Bank      netip.AddrPort // where the bank listens
	TLS       bool           // HTTPS outside
	Hosts     []string       // names in the certificate
	// Forgetful is a HAProxy, or Envoy, whose operator put the rules into another frontend
	// than the bank's: it takes verdicts, and nothing comes of them.
	Forgetful bool
}

// program is what the laboratory has to know of a kind of load balancer.
type program interface {
	// path is the program.
	path() string
	// etc is the folder that stands for the program's own; "": it has none, and its files
	// have names alone.
	etc() string
	// files are what lies there, by path: what an operator had, and what was printed.
	files(c Config, setup string, certificate []byte) (map[string][]byte, error)
	// check are the arguments with which it checks its configuration, run those with
	// which it stays in the foreground.
	check(c Config) []string
	run(c Config) []string
	// target says how offpath reaches it: keys of a target but its name.
	target(c Config) string
	// up says whether it answers with the bank behind it.
	up(ctx context.Context, c Config) bool
	// dropped counts the lines of its log that were lost.
	dropped(ctx context.Context, c Config) (int, error)
	// journal opens the place that its log goes to, and entry reads a line of it.
	journal(c Config) (io.ReadCloser, error)
	entry(line string) (Entry, error)
}

var programs = map[string]program{"haproxy": haproxy{}, "nginx": nginx{}, "envoy": envoy{}}

// Kinds are the kinds of load balancers, the usual one first.
func Kinds() []string { return []string{"haproxy", "nginx", "envoy"} }

// Missing are the Debian packages that a kind of load balancer lacks on this machine, and
// for Envoy, which Debian does not have, what to do.
func Missing(kind string) (packages []string, mend string) {
	if _, err := exec.LookPath(programs[kind].path()); err != nil {
		if kind == "envoy" {
			return nil, "no Envoy " + envoyVersion + " at " + programs[kind].path() + ": `make lab LB=envoy` fetches it"
		}
		packages = append(packages, kind)
	}
	if _, err := os.Stat(luaModule); kind == "nginx" && err != nil {
		packages = append(packages, "libnginx-mod-http-lua")
	}
	return packages, ""
}

// Port is the port outside.
func (c Config) Port() uint16 {
	if c.TLS {
		return 443
	}
	return 80
}

// Target says how offpath reaches it: the keys of a target in YAML's flow style, but for
// the name.
func (c Config) Target() string { return programs[c.Kind].target(c) }

// Balancer is a running load balancer.
type Balancer struct {
	Journal *Journal
	Roots   *x509.CertPool // trusts its certificate; nil without TLS

	config Config
}

const startTimeout = 10 * time.Second

// Start starts the load balancer with the setup that offpath printed, and returns once
// the bank behind it is up.
func Start(ctx context.Context, nursery *child.Nursery, c Config, setup string) (b *Balancer, err error) {
	b = &Balancer{config: c}
	is := programs[c.Kind]
	var pem []byte
	if c.TLS {
		if pem, b.Roots, err = certificate(c.Hosts); err != nil {
			return nil, err
		}
	}
	if err := c.install(setup, pem); err != nil {
		return nil, fmt.Errorf("install the load balancer: %w", err)
	}
	// Before the check, which may open it.
	source, err := is.journal(c)
	if err != nil {
		return nil, fmt.Errorf("open the load balancer's journal: %w", err)
	}
	b.Journal = newJournal(source, is.entry)
	check := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", c.Namespace}, c.command(is.check(c))...)...)
	if out, err := check.CombinedOutput(); err != nil {
		b.Close()
		return nil, fmt.Errorf("%s does not accept its configuration: %w\n%s", c.Kind, err, bytes.TrimSpace(out))
	}
	command := c.command(is.run(c))
	process, err := nursery.Start(child.Spec{Name: c.Kind, Namespace: c.Namespace, Path: command[0], Args: command[1:]})
	if err == nil {
		err = b.awaitBank(ctx, process)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Balancer) awaitBank(ctx context.Context, process *child.Child) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for !programs[b.config.Kind].up(ctx, b.config) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-process.Done():
			return fmt.Errorf("%s ended%s", b.config.Kind, process.Tail())
		case <-ctx.Done():
			return fmt.Errorf("%s with the bank behind it is not up after %v%s", b.config.Kind, startTimeout, process.Tail())
		}
	}
	return nil
}

// DroppedLogs is the number of lines that the load balancer could not write to the
// journal.
func (b *Balancer) DroppedLogs(ctx context.Context) (int, error) {
	return programs[b.config.Kind].dropped(ctx, b.config)
}

// Close ends the journal; the load balancer ends with its nursery.
func (b *Balancer) Close() {
	if b.Journal != nil {
		b.Journal.close()
	}
}

const journalName = "journal.sock"

func (c Config) path(name string) string { return filepath.Join(c.Dir, name) }

// shadow is the folder that is mounted over the program's own, in a mount namespace of the
// program alone, so that everything has the paths that an operator sees and the machine's
// own folder stays as it is.
func (c Config) shadow() string { return c.path("etc-" + c.Kind) }

// install writes the configuration and what it refers to.
func (c Config) install(setup string, certificate []byte) error {
	etc := programs[c.Kind].etc()
	files, err := programs[c.Kind].files(c, setup, certificate)
	if err != nil {
		return err
	}
	for name, text := range files {
		inside, ok := strings.CutPrefix(name, etc+"/")
		if etc == "" {
			inside = name
		} else if !ok {
			return fmt.Errorf("the printed setup wants %s, which is not in %s", name, etc)
		}
		path := filepath.Join(c.shadow(), inside)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// command is how the program is started. `ip netns exec` has given the shell a mount
// namespace of its own.
func (c Config) command(args []string) []string {
	is := programs[c.Kind]
	if is.etc() == "" {
		return append([]string{is.path()}, args...)
	}
	return append([]string{"sh", "-c", `mount --bind "$0" ` + is.etc() + ` && exec ` + is.path() + ` "$@"`, c.shadow()}, args...)
}

// addresses are where clients connect.
func (c Config) addresses() []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(internet.Service, c.Port()), netip.AddrPortFrom(internet.Service6, c.Port())}
}

func lastLine(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, '\n')+1:]
}
