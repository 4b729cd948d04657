package f5bigiptest

import (
	"bufio"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/targettest"
)

//go:embed worker.tcl
var worker string

// rule is an iRule that runs.
type rule struct {
	api *API

	mu    sync.Mutex // one request at a time
	in    io.Writer
	out   *bufio.Reader
	table map[string]*count
	logs  []string
}

// count is an entry of the session table.
type count struct {
	n    int
	ends time.Time
}

func newRule(t testing.TB, api *API, text string) *rule {
	t.Helper()
	file := filepath.Join(t.TempDir(), "worker.tcl")
	require.NoError(t, os.WriteFile(file, []byte(worker), 0o600))
	cmd := exec.Command(targettest.Program(t, "tclsh"), file)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		in.Close() // it ends
		_ = cmd.Wait()
	})
	r := &rule{api: api, in: in, out: bufio.NewReader(out), table: map[string]*count{}}
	require.NoError(t, r.say(text))
	words, err := r.hear()
	require.NoError(t, err)
	require.Equal(t, []string{"ready"}, words)
	return r
}

func (r *rule) say(words ...string) error {
	for i, w := range words {
		words[i] = "x" + hex.EncodeToString([]byte(w))
	}
	_, err := io.WriteString(r.in, strings.Join(words, " ")+"\n")
	return err
}

func (r *rule) hear() ([]string, error) {
	line, err := r.out.ReadString('\n')
	if err != nil {
		return nil, err
	}
	words := strings.Fields(line)
	for i, w := range words {
		b, err := hex.DecodeString(strings.TrimPrefix(w, "x"))
		if err != nil {
			return nil, err
		}
		words[i] = string(b)
	}
	return words, nil
}

// run runs what the iRule has for an event: words are forward and headers, or respond,
// status, content and headers.
func (r *rule) run(event, client string, header http.Header) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	words := []string{event, client}
	for name, values := range header {
		for _, v := range values {
			words = append(words, name, v)
		}
	}
	if err := r.say(words...); err != nil {
		return nil, err
	}
	for {
		words, err := r.hear()
		if err != nil || len(words) == 0 {
			return nil, fmt.Errorf("iRule: %q, %v", words, err)
		}
		switch words[0] {
		case "error":
			return nil, fmt.Errorf("iRule: %s", words[1])
		case "ask":
			answer, err := r.command(words[1], words[2:])
			if err != nil {
				err = r.say("error", err.Error())
			} else {
				err = r.say("ok", answer)
			}
			if err != nil {
				return nil, err
			}
		default:
			return words, nil
		}
	}
}

// command is one of F5's.
func (r *rule) command(name string, args []string) (string, error) {
	line := name + " " + strings.Join(args, " ")
	switch {
	case name == "log":
		r.logs = append(r.logs, line)
		return "", nil
	case name == "class" && len(args) == 2 && args[0] == "size":
		g, err := r.api.group(args[1])
		return strconv.Itoa(len(g.records)), err
	case name == "class" && len(args) >= 4 && args[0] == "match" && args[len(args)-2] == "equals":
		value := args[1] == "-value"
		found, ok, err := r.api.match(args[len(args)-3], args[len(args)-1])
		switch {
		case err != nil:
			return "", err
		case value:
			return found, nil
		case ok:
			return "1", nil
		}
		return "0", nil
	case name == "table" && len(args) == 7 && args[0] == "add" && args[1] == "-subtable" && args[5] == "indefinite":
		life, err := strconv.Atoi(args[6])
		if c := r.table[args[3]]; err == nil && (c == nil || !time.Now().Before(c.ends)) {
			r.table[args[3]] = &count{ends: time.Now().Add(time.Duration(life) * time.Second)}
		}
		return "", err
	case name == "table" && len(args) == 6 && strings.HasPrefix(line, "table incr -notouch -subtable offpath -mustexist "):
		c := r.table[args[5]]
		if c == nil || !time.Now().Before(c.ends) {
			return "", nil
		}
		c.n++
		return strconv.Itoa(c.n), nil
	}
	return "", fmt.Errorf("no such command here: %s", line)
}

// match is `class match`: of type ip an item that is no address is an error.
func (a *API) match(item, name string) (value string, found bool, err error) {
	g, err := a.group(name)
	if err != nil {
		return "", false, err
	}
	if g.kind == "string" {
		value, found = g.records[item]
		return value, found, nil
	}
	address, err := netip.ParseAddr(item)
	if err != nil {
		return "", false, fmt.Errorf("bad IP address format: %s", item)
	}
	if value, found = g.records[netip.PrefixFrom(address, address.BitLen()).String()]; found {
		return value, true, nil
	}
	for _, p := range g.networks {
		// Not the longest, but any: which wins must not matter.
		if p.Contains(address) {
			return g.records[p.String()], true, nil
		}
	}
	return "", false, nil
}
