// Package sensor runs the real `offpath` at the laboratory's tap, as an
// operator would: by its command line, its configuration file and its API.
//
// A Sensor's methods may be called from any goroutine, except that Close is
// the last.
package sensor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"offpath/cmd/lab/internal/child"
)

// Config says how offpath runs.
type Config struct {
	Binary    string
	Dir       string // folder for configuration, socket and state
	Namespace string // network namespace of the tap
	Interface string // mirror port inside it

	Target         string         // how the load balancer is reached: keys of a target but its name, in YAML's flow style
	TrustedProxies []netip.Prefix // as in client.trusted_proxies
	Mode           string         // monitor or enforce
	VerdictTTL     time.Duration
	Record         string // path of a recording; "" for none
}

func (c Config) path(name string) string { return filepath.Join(c.Dir, name) }

// yaml is offpath's configuration file.
func (c Config) yaml() string {
	var trusted []string
	for _, p := range c.TrustedProxies {
		trusted = append(trusted, p.String())
	}
	return fmt.Sprintf(`capture:
  interfaces: [%s]
  ring_mib: 128
  record: %q
reassembly:
  memory_mib: 256
client:
  trusted_proxies: [%s]
hash:
  key: file:%s
detect:
  verdict_ttl: %v
mitigate:
  mode: %s
  targets:
    - {name: %s, %s}
admin:
  socket: %s
  listen: ""
state:
  dir: %s
output:
  transactions: %s
  verdicts: %s
log:
  format: text
`, c.Interface, c.Record, strings.Join(trusted, ", "), c.path("hash.key"), c.VerdictTTL, c.Mode,
		targetName, c.Target, c.path("admin.sock"), c.path("state"),
		c.path("transactions.jsonl"), c.path("verdicts.jsonl"))
}

const targetName = "lb1"

// Install writes the configuration file and the hash key.
func (c Config) Install() error {
	if err := os.WriteFile(c.path("hash.key"), []byte("a key that the laboratory alone uses"), 0o600); err != nil {
		return err
	}
	if err := os.Mkdir(c.path("state"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(c.path("offpath.yaml"), []byte(c.yaml()), 0o600)
}

// TargetConfig is what offpath prints for the load balancer's operator.
func (c Config) TargetConfig(ctx context.Context) (string, error) {
	return c.run(ctx, "target-config", targetName)
}

// run runs one of offpath's commands with the configuration and returns its
// standard output.
func (c Config) run(ctx context.Context, args ...string) (string, error) {
	args = append(args, "--config", c.path("offpath.yaml"))
	cmd := exec.CommandContext(ctx, c.Binary, args...)
	// In a group of its own, as all children; ctx is what ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("offpath %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return string(out), nil
}

// Sensor is a running offpath.
type Sensor struct {
	config  Config
	process *child.Child
	client  http.Client
}

const (
	startTimeout = 15 * time.Second
	stopTimeout  = 15 * time.Second
)

// Start starts `offpath run` and returns once it says that it is ready.
func Start(ctx context.Context, nursery *child.Nursery, c Config) (*Sensor, error) {
	process, err := nursery.Start(child.Spec{Name: "offpath", Namespace: c.Namespace, Path: c.Binary,
		Args: []string{"run", "--config", c.path("offpath.yaml")}})
	if err != nil {
		return nil, err
	}
	s := &Sensor{config: c, process: process}
	s.client = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.path("admin.sock"))
		},
	}}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := s.get(ctx, "/readyz", nil)
		if err == nil {
			return s, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-process.Done():
			return nil, fmt.Errorf("offpath ended%s", process.Tail())
		case <-ctx.Done():
			return nil, fmt.Errorf("offpath is not ready after %v: %w%s", startTimeout, err, process.Tail())
		}
	}
}

// Stop stops offpath in an orderly way; an exit status other than 0 is an
// error.
func (s *Sensor) Stop() error {
	s.client.CloseIdleConnections()
	return s.process.Stop(syscall.SIGTERM, stopTimeout)
}

// Log is what offpath has written to stderr so far.
func (s *Sensor) Log() []byte { return s.process.Log() }
