// Package check tries what a configuration names, without changing anything:
// interfaces, files, secrets, load balancers and brokers.
package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sys/unix"

	"offpath/cmd/offpath/internal/api"
	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/wiring"
	"offpath/detect"
	"offpath/detect/policy"
	"offpath/mitigate"
)

// Result is the outcome of one trial.
type Result struct {
	What string // the setting, and what of it
	Text string // what was found
	Err  error  // why it does not work
}

// All tries everything that c names, each thing for at most the timeout.
func All(ctx context.Context, c *config.Config, timeout time.Duration) []Result {
	var all []Result
	add := func(what, text string, err error) { all = append(all, Result{what, text, err}) }

	for _, name := range c.Capture.Interfaces {
		text, err := tryInterface(name)
		add("interface "+name, text, err)
	}
	if !c.Hash.Key.IsZero() {
		_, err := c.Hash.Key.ReadKey()
		add("hash.key", c.Hash.Key.String(), err)
	}
	if c.TLS.KeyLog != "" {
		_, err := os.Stat(c.TLS.KeyLog)
		add("tls.keylog", c.TLS.KeyLog, err)
	}
	if len(c.TLS.Keys) > 0 {
		_, err := wiring.ServerKeys(c.TLS.Keys)
		add("tls.keys", strings.Join(c.TLS.Keys, ", "), err)
	}
	if networks, err := wiring.Networks(c); err != nil {
		add("networks", "", err)
	} else if networks != nil {
		add("networks", strings.Join(networks.Types(), ", "), networks.Verify())
	}
	if spec, err := wiring.Specification(c); err != nil {
		add("detect.specification", "", err)
	} else if spec != nil {
		add("detect.specification", fmt.Sprintf("%s, %d operations", c.Detect.Specification, spec.Count()), nil)
	}
	targets, err := wiring.Targets(c)
	if err != nil {
		add("mitigate.targets", "", err)
	}
	policies, err := c.PolicySet()
	if err != nil {
		add("detect.policies", "", err)
	} else {
		carried := wiring.Carried(targets)
		for _, p := range policies.Policies() {
			text := inForce(c, p)
			switch {
			case p.Action == policy.ActionNone:
			case p.Account && len(targets) > 0 && !wiring.Taken(targets, p.Example()):
				text += " (note: nobody is told of it; a target of type webhook would be)"
			case carried != nil && !p.Account && !carried(p.Example()):
				text += " (note: none of the load balancers carries it)"
			}
			add("policy "+p.Name, text, nil)
		}
	}
	add("state.dir", c.State.Dir, tryFolder(c.State.Dir))
	for _, file := range []struct{ key, path string }{
		{"capture.record", c.Capture.Record}, {"output.transactions", c.Output.Transactions},
		{"output.findings", c.Output.Findings}, {"output.verdicts", c.Output.Verdicts},
	} {
		if file.path != "" {
			add(file.key, file.path, tryFolder(filepath.Dir(file.path)))
		}
	}
	if !c.Admin.Token.IsZero() {
		_, err := c.Admin.Token.Read()
		add("admin.token", c.Admin.Token.String(), err)
	}
	if c.Admin.TLSCert != "" {
		_, err := api.LoadTLS(c.Admin.TLSCert, c.Admin.TLSKey)
		add("admin.tls_cert", c.Admin.TLSCert, err)
	}
	for _, t := range targets {
		text, err := tryTarget(ctx, t, timeout)
		add("target "+t.Name(), text, err)
	}
	for _, broker := range c.Stream.Brokers {
		text, err := tryBroker(ctx, broker, timeout)
		add("broker "+broker, text, err)
	}
	return all
}

// inForce says what a policy does, and how long, about what.
func inForce(c *config.Config, p *policy.Policy) string {
	if p.Action == policy.ActionNone {
		return p.Text() + ": " + p.About
	}
	mode := p.Mode
	if c.Mitigate.Mode != string(detect.ModeEnforce) {
		mode = detect.Mode(c.Mitigate.Mode)
	}
	ttl, longest := p.Lifetimes(c.Detect.VerdictTTL, c.Detect.VerdictTTLMax)
	return fmt.Sprintf("%s (%s) for %v to %v: %s", p.Text(), mode, ttl, longest, p.About)
}

func tryInterface(name string) (string, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return "", errors.New("no such interface; `ip link` lists them")
	}
	if i.Flags&net.FlagUp == 0 {
		return "", fmt.Errorf("it is down; `ip link set %s up` turns it on", name)
	}
	return fmt.Sprintf("up, MTU %d", i.MTU), nil
}

// tryFolder says whether files can be made in a folder, or the folder itself.
func tryFolder(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path {
		return tryFolder(filepath.Dir(path)) // it will be made there
	}
	if err != nil {
		return fmt.Errorf("look at folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no folder", path)
	}
	if err := unix.Access(path, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("write to %s: %w", path, err)
	}
	return nil
}

func tryTarget(ctx context.Context, t mitigate.Target, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if p, ok := t.(mitigate.Publisher); ok {
		return p.Look(ctx) // the server is that of the offpath that runs
	}
	identity, err := t.Identity(ctx)
	if errors.Is(err, mitigate.ErrConnectsItself) {
		return t.Kind() + ": " + err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	if err := t.Prepared(ctx); err != nil {
		return "", err
	}
	mode, local, err := t.Mode(ctx)
	if err != nil {
		return "", err
	}
	text := []string{strings.TrimSpace(t.Kind() + " " + identity.Version), "mode there: " + string(mode)}
	if local {
		text = append(text, "turned off by hand at the load balancer")
	}
	if identity.Skew > 2 || identity.Skew < -2 {
		text = append(text, fmt.Sprintf("its clock is %d s ahead of this one", identity.Skew))
	}
	return strings.Join(text, ", "), nil
}

func tryBroker(ctx context.Context, address string, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := kafka.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	brokers, err := c.Brokers()
	if err != nil {
		return "", fmt.Errorf("ask for brokers: %w", err)
	}
	return fmt.Sprintf("%d brokers in the cluster", len(brokers)), nil
}
