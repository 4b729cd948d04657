package webhook_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/webhook"
)

// script is the receiver that target-config prints, running under Python.
type script struct {
	t                     testing.TB
	python, path, address string
	cmd                   *exec.Cmd

	mu     sync.Mutex
	acting map[string]bool // ids of verdicts that it acts on
}

func startScript(t testing.TB) *script {
	t.Helper()
	s := &script{t: t, python: targettest.Program(t, "python3"), path: filepath.Join(t.TempDir(), "receiver.py"), acting: map[string]bool{}}
	config, err := webhook.Setup{}.Render()
	require.NoError(t, err)
	var b strings.Builder
	_, err = config.WriteTo(&b)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.path, []byte(b.String()), 0o600))
	require.NoError(t, os.WriteFile(s.path+".secret", []byte(secret+"\n"), 0o600))
	s.address = fmt.Sprintf("127.0.0.1:%d", targettest.FreePorts(t, 1)[0])
	t.Cleanup(s.kill)
	s.start()
	return s
}

func (s *script) start() {
	s.cmd = exec.Command(s.python, s.path, s.address, s.path+".secret")
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, s.cmd.Start())
	s.mu.Lock()
	clear(s.acting)
	s.mu.Unlock()
	go s.follow(out)
	eventually(s.t, "the receiver listens", func() bool {
		c, err := net.Dial("tcp", s.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (s *script) follow(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		words := strings.Fields(lines.Text())
		s.mu.Lock()
		if words[0] == "act" {
			s.acting[words[1]] = true
		} else {
			delete(s.acting, words[1])
		}
		s.mu.Unlock()
	}
}

func (s *script) kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

// acts says how many verdicts it acts on.
func (s *script) acts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acting)
}

func (s *script) config(t testing.TB) controller.Config {
	return controller.Config{
		Targets: []mitigate.Target{targetOf(t, webhook.Options{URL: "http://" + s.address + "/verdicts", PingInterval: 200 * time.Millisecond}).Hasten(10)},
		Mode:    detect.ModeEnforce,
	}
}

func TestThePrintedReceiverDoesWhatItIsTold(t *testing.T) {
	s := startScript(t)
	config := s.config(t)
	config.StateDir = t.TempDir()
	c, stop := targettest.Running(t, config)
	for id := range uint32(10_000) {
		require.NoError(t, c.Apply(hold(id+1)))
	}
	began := time.Now()
	eventually(t, "ten thousand holds", func() bool { return s.acts() == 10_000 })
	t.Logf("10,000 holds after %s", time.Since(began).Round(time.Millisecond))

	require.NoError(t, c.Off("alice"))
	eventually(t, "off withdraws all", func() bool { return s.acts() == 0 })
	require.NoError(t, c.On("alice"))
	eventually(t, "on", func() bool { return s.acts() == 10_000 })
	require.NoError(t, c.SetMode(detect.ModeMonitor, "alice"))
	eventually(t, "monitored", func() bool { return s.acts() == 0 })
	require.NoError(t, c.SetMode(detect.ModeEnforce, "alice"))
	require.NoError(t, c.Lift(hold(1).ID, "alice"))
	eventually(t, "one lifted", func() bool { return s.acts() == 9_999 })

	s.kill()
	require.NoError(t, c.Lift(hold(2).ID, "alice"))
	eventually(t, "noticed", func() bool { return !c.Targets()[0].Connected })
	s.start()
	eventually(t, "a receiver that forgot everything has it all again", func() bool { return s.acts() == 9_998 })

	stop()
	config.Targets = s.config(t).Targets
	c, _ = targettest.Running(t, config)
	require.NoError(t, c.Lift(hold(3).ID, "alice"))
	eventually(t, "another controller goes on", func() bool { return s.acts() == 9_997 && c.Targets()[0].Connected })
}

func TestThePrintedReceiverEndsVerdictsByItsOwnClock(t *testing.T) {
	s := startScript(t)
	c, stop := targettest.Running(t, s.config(t))
	v := hold(1)
	v.Expires = time.Now().Add(4 * time.Second).UnixNano()
	require.NoError(t, c.Apply(v))
	eventually(t, "held", func() bool { return s.acts() == 1 })
	stop()
	assert.Equal(t, 1, s.acts(), "the controller's end ends no verdict")
	eventually(t, "expired", func() bool { return s.acts() == 0 })
	assert.GreaterOrEqual(t, time.Now().UnixNano(), v.Expires)
}

func TestThePrintedReceiverTakesNothingThatIsNotSigned(t *testing.T) {
	s := startScript(t)
	assert.NoError(t, targetOf(t, webhook.Options{URL: "http://" + s.address}).Prepared(t.Context()))
	_, err := targetOf(t, webhook.Options{URL: "http://" + s.address, Secrets: secrets("another secret, not this")}).Identity(t.Context())
	assert.ErrorContains(t, err, "401")
}

// The example in the guide, carried out by a shell and openssl, gives the signature of a
// message that was sent.
func TestTheShellOfTheGuideMakesTheSameSignature(t *testing.T) {
	targettest.Program(t, "openssl")
	config, err := webhook.Setup{}.Render()
	require.NoError(t, err)
	command := regexp.MustCompile(`(?s)#\s+(printf %s .*?) \\\n#\s+(-macopt .*?base64)\n`).FindStringSubmatch(config.Guide)
	require.Len(t, command, 3)
	id, stamp, body, signature := overheard(t)
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "secret"), []byte(secret+"\n"), 0o600))
	c := exec.Command("sh", "-c", command[1]+" "+command[2])
	c.Dir = folder
	c.Env = append(os.Environ(), "id="+id, "timestamp="+stamp, "body="+body)
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, signature, "v1,"+strings.TrimSpace(string(out)))
}

// A message that was under way for long, such as from before the receiver answered slowly,
// brings nothing back that has ended since.
func TestThePrintedReceiverDoesNotTakeAnOldMessageThatComesLate(t *testing.T) {
	s := startScript(t)
	var late *http.Request
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		again := func() *http.Request {
			r, err := http.NewRequest(http.MethodPost, "http://"+s.address, bytes.NewReader(body))
			require.NoError(t, err)
			r.Header = q.Header.Clone()
			return r
		}
		if bytes.Contains(body, []byte(`"event":"active"`)) && late == nil {
			late = again()
		}
		answer, err := http.DefaultClient.Do(again())
		require.NoError(t, err)
		answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
	}))
	defer relay.Close()
	target := targetOf(t, webhook.Options{URL: relay.URL})
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	e := mitigate.Entry{ID: 1<<32 | 1, Action: detect.ActionHold, Subject: hold(1).Subject, Expires: time.Now().Unix() + 60}
	_, err := target.Sync(t.Context(), []mitigate.Entry{e})
	require.NoError(t, err)
	eventually(t, "held", func() bool { return s.acts() == 1 })
	_, err = target.Sync(t.Context(), nil)
	require.NoError(t, err)
	eventually(t, "ended", func() bool { return s.acts() == 0 })
	answer, err := http.DefaultClient.Do(late)
	require.NoError(t, err)
	answer.Body.Close()
	assert.Equal(t, http.StatusNoContent, answer.StatusCode)
	time.Sleep(1500 * time.Millisecond) // it looks at its clock every second
	assert.Equal(t, 0, s.acts())
}
