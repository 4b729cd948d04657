// Package balancer runs a real HAProxy in front of the bank, configured as an
// operator would configure it: with what `offpath target-config` prints, put
// where the print says.
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
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"time"

	"offpath/cmd/lab/internal/child"
)

// Config says what to start.
type Config struct {
	Dir       string         // folder for configuration and sockets
	Namespace string         // network namespace of the load balancer
	Bank      netip.AddrPort // where the bank listens
	TLS       bool           // HTTPS outside
	Hosts     []string       // names in the certificate
}

// Port is the port outside.
func (c Config) Port() uint16 {
	if c.TLS {
		return 443
	}
	return 80
}

// Socket is the path of the admin socket.
func (c Config) Socket() string { return c.path("haproxy.sock") }

// Balancer is a running HAProxy.
type Balancer struct {
	Journal *Journal
	Roots   *x509.CertPool // trusts its certificate; nil without TLS

	config Config
}

const startTimeout = 10 * time.Second

// Start starts HAProxy with the setup that offpath printed, and returns once
// the bank behind it is up.
func Start(ctx context.Context, nursery *child.Nursery, c Config, setup string) (b *Balancer, err error) {
	b = &Balancer{config: c}
	var pem []byte
	if c.TLS {
		if pem, b.Roots, err = certificate(c.Hosts); err != nil {
			return nil, err
		}
	}
	if err := c.install(setup, pem); err != nil {
		return nil, fmt.Errorf("install the load balancer: %w", err)
	}
	check := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", c.Namespace}, c.command("-c", "-q")...)...)
	if out, err := check.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("haproxy does not accept its configuration: %w\n%s", err, bytes.TrimSpace(out))
	}
	if b.Journal, err = openJournal(c.Namespace, c.path(journalName)); err != nil {
		return nil, err
	}
	command := c.command("-db")
	process, err := nursery.Start(child.Spec{Name: "haproxy", Namespace: c.Namespace, Path: command[0], Args: command[1:]})
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
	for {
		stat, err := b.ask(ctx, "show servers state bank")
		// be_id be_name srv_id srv_name srv_addr srv_op_state …: 2 is up.
		if fields := bytes.Fields(lastLine(stat)); err == nil && len(fields) > 5 && string(fields[5]) == "2" {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-process.Done():
			return fmt.Errorf("haproxy ended%s", process.Tail())
		case <-ctx.Done():
			return fmt.Errorf("haproxy with the bank behind it is not up after %v%s", startTimeout, process.Tail())
		}
	}
}

// DroppedLogs is the number of lines that HAProxy could not write to the
// journal.
func (b *Balancer) DroppedLogs(ctx context.Context) (int, error) {
	info, err := b.ask(ctx, "show info")
	if err != nil {
		return 0, err
	}
	_, rest, found := bytes.Cut(info, []byte("\nDroppedLogs: "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.Atoi(string(line))
	if !found || err != nil {
		return 0, fmt.Errorf("haproxy does not say how many log lines it dropped")
	}
	return n, nil
}

// ask sends one command to the admin socket.
func (b *Balancer) ask(ctx context.Context, command string) ([]byte, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", b.config.Socket())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}

// Close ends the journal; HAProxy ends with its nursery.
func (b *Balancer) Close() {
	if b.Journal != nil {
		b.Journal.close()
	}
}

func lastLine(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, '\n')+1:]
}
