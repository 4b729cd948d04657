package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of the settings that are numbers.
const (
	maxWorkers   = 256
	minRingMiB   = 1
	maxRingMiB   = 4096
	minMemoryMiB = 32
	maxMemoryMiB = 1 << 20
)

var (
	interfaceName = regexp.MustCompile(`^[^\s/:]{1,15}$`) // dev_valid_name in net/core/dev.c
	targetName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	topicName     = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`) // Kafka's own rule
	headerName    = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
)

// maxSocketPath is the room for a path in struct sockaddr_un, less its NUL.
const maxSocketPath = 107

// validate checks every setting by itself and those that depend on each
// other; the first mistake is the error.
func (l *loader) validate() error {
	for _, check := range []func() error{
		l.checkCapture, l.checkClient, l.checkDetect, l.checkTargets, l.checkStream, l.checkPaths, l.checkAdmin, l.checkLog,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) checkRange(path string, value, low, high int) error {
	if value < low || value > high {
		return l.mistake(path, "%d is out of range; write a number from %d to %d", value, low, high)
	}
	return nil
}

func (l *loader) checkChoice(path, value string, choices ...string) error {
	if !slices.Contains(choices, value) {
		return l.mistake(path, "%q is none of %s; did you mean %q?", value, strings.Join(choices, ", "), nearest(value, choices))
	}
	return nil
}

func (l *loader) checkCapture() error {
	c := &l.config.Capture
	for i, name := range c.Interfaces {
		if !interfaceName.MatchString(name) || name == "." || name == ".." {
			return l.mistake("capture.interfaces", "%q is no name of an interface; `ip link` lists them", name)
		}
		if slices.Contains(c.Interfaces[:i], name) {
			return l.mistake("capture.interfaces", "%q stands there twice; remove one", name)
		}
	}
	if err := l.checkRange("capture.workers", c.Workers, 0, maxWorkers); err != nil {
		return err
	}
	if err := l.checkRange("capture.ring_mib", c.RingMiB, minRingMiB, maxRingMiB); err != nil {
		return err
	}
	return l.checkRange("reassembly.memory_mib", l.config.Reassembly.MemoryMiB, minMemoryMiB, maxMemoryMiB)
}

func (l *loader) checkClient() error {
	for _, name := range l.config.Client.IgnoreHeaders {
		if !headerName.MatchString(name) {
			return l.mistake("client.ignore_headers", "%q is no header name; write the name alone, such as X-Request-Id", name)
		}
	}
	return nil
}

// hostPortProblem says what is wrong with HOST:PORT.
func hostPortProblem(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return "is not HOST:PORT"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "has no port from 1 to 65535"
	}
	return ""
}

func (l *loader) checkStream() error {
	s := &l.config.Stream
	for _, broker := range s.Brokers {
		if problem := hostPortProblem(broker); problem != "" {
			return l.mistake("stream.brokers", "%q %s; write each broker as kafka1.example:9092", broker, problem)
		}
	}
	for _, topic := range []struct{ path, value string }{
		{"stream.transactions_topic", s.TransactionsTopic}, {"stream.verdicts_topic", s.VerdictsTopic},
	} {
		if !topicName.MatchString(topic.value) || topic.value == "." || topic.value == ".." {
			return l.mistake(topic.path, "%q is no name of a topic; write letters, digits, '.', '_' and '-'", topic.value)
		}
	}
	if s.TransactionsTopic == s.VerdictsTopic {
		return l.mistake("stream.verdicts_topic", "%q is the topic of transactions already; verdicts need their own", s.VerdictsTopic)
	}
	if s.Group == "" {
		return l.mistake("stream.group", "\"\" is no name of a consumer group; write one such as offpath-detect")
	}
	return nil
}

// checkPaths refuses one file for two uses.
func (l *loader) checkPaths() error {
	if l.config.State.Dir == "" {
		return l.mistake("state.dir", "\"\" is no folder; write a path such as /var/lib/offpath")
	}
	if every := l.config.State.Every; every < 10*time.Second || every > 24*time.Hour {
		return l.mistake("state.every", "%v is out of range; write a duration from 10s to 24h", every)
	}
	o := &l.config.Output
	files := []struct{ path, value string }{
		{"capture.record", l.config.Capture.Record}, {"output.transactions", o.Transactions},
		{"output.findings", o.Findings}, {"output.verdicts", o.Verdicts},
	}
	for i, file := range files {
		for _, other := range files[:i] {
			if file.value != "" && filepath.Clean(file.value) == filepath.Clean(other.value) {
				return l.mistake(file.path, "%q is the file of %s already; give each its own", file.value, other.path)
			}
		}
	}
	return nil
}

func (l *loader) checkAdmin() error {
	a := &l.config.Admin
	if a.Socket != "" {
		if !filepath.IsAbs(a.Socket) {
			return l.mistake("admin.socket", "%q is not an absolute path; write one such as /run/offpath/admin.sock", a.Socket)
		}
		if len(a.Socket) > maxSocketPath {
			return l.mistake("admin.socket", "%q has %d octets, more than the %d of a unix socket; write a shorter path", a.Socket, len(a.Socket), maxSocketPath)
		}
	}
	if (a.TLSCert == "") != (a.TLSKey == "") {
		given, missing := "tls_cert", "tls_key"
		if a.TLSCert == "" {
			given, missing = missing, given
		}
		return l.mistake("admin."+given, "it works only together with admin.%s; set both or neither", missing)
	}
	if a.Listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(a.Listen)
	if err != nil {
		return l.mistake("admin.listen", "%q is not HOST:PORT; write one such as 127.0.0.1:9321", a.Listen)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return l.mistake("admin.listen", "%q has no port from 0 to 65535; write one such as 127.0.0.1:9321", a.Listen)
	}
	if !isLoopback(host) && (a.Token.IsZero() || a.TLSCert == "") {
		return l.mistake("admin.listen", "%q is not loopback and so needs admin.token, admin.tls_cert and admin.tls_key; set them or listen on 127.0.0.1", a.Listen)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

func (l *loader) checkLog() error {
	if err := l.checkChoice("log.level", l.config.Log.Level, "debug", "info", "warn", "error"); err != nil {
		return err
	}
	return l.checkChoice("log.format", l.config.Log.Format, "auto", "text", "json")
}

// RequireInterfaces is the further check of commands that capture.
func (c *Config) RequireInterfaces(command string) error {
	return c.require(len(c.Capture.Interfaces) > 0, "capture.interfaces", "it is empty; `offpath "+command+"` needs the interface of a mirror port, such as [eth1]")
}

// RequireBrokers is the further check of commands that use Kafka.
func (c *Config) RequireBrokers(command string) error {
	return c.require(len(c.Stream.Brokers) > 0, "stream.brokers", "it is empty; `offpath "+command+"` needs a Kafka broker, such as [kafka1.example:9092]")
}

// RequireSocket is the further check of commands that talk to a running
// offpath.
func (c *Config) RequireSocket(command string) error {
	return c.require(c.Admin.Socket != "", "admin.socket", "it is empty; `offpath "+command+"` needs the socket of a running offpath")
}

func (c *Config) require(ok bool, key, text string) error {
	if ok {
		return nil
	}
	return c.Wrong(key, text)
}

// Wrong is the error of a setting that turned out to be wrong when it was used.
func (c *Config) Wrong(key, text string) error {
	where := c.Path
	if where == "" {
		where = "configuration"
	}
	return &Error{Where: where, Key: key, Text: text}
}
