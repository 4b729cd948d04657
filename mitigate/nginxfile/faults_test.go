package nginxfile_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nginxfile"
)

// list is the file that nginx includes.
func list(s *nginxtest.Plain) string { return filepath.Join(s.Folder, "verdicts.conf") }

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// onlyTheList says that nothing is left over beside what there has to be.
func onlyTheList(t *testing.T, s *nginxtest.Plain) {
	t.Helper()
	files, err := os.ReadDir(s.Folder)
	require.NoError(t, err)
	for _, f := range files {
		assert.Contains(t, []string{"verdicts.conf", "enforce"}, f.Name())
	}
}

func TestWhatNginxRefusesNeverTakesTheListsPlace(t *testing.T) {
	s, b, target := enforcing(t)
	one, two := entry(1, targettest.Attacker), entry(2, targettest.Customer)
	apply(t, target, one)
	before := read(t, list(s))
	strict := filepath.Join(s.Dir, "strict")
	require.NoError(t, os.WriteFile(strict, []byte("#!/bin/sh\necho 'nginx: [emerg] it is refused'\nexit 1\n"), 0o700))
	refusing := newTarget(t, s, func(o *nginxfile.Options) { o.Program = strict })
	assert.ErrorContains(t, refusing.Apply(t.Context(), []mitigate.Entry{two}, nil), "nginx refuses the list, and the one before stays: "+strict+" -t: exit status 1: nginx: [emerg] it is refused")
	assert.Equal(t, before, read(t, list(s)))
	onlyTheList(t, s)
	assert.Equal(t, refused(403, one), get(t, b, targettest.Attacker))
	assert.Equal(t, passed, get(t, b, targettest.Customer))

	absent := newTarget(t, s, func(o *nginxfile.Options) { o.Program = "/nowhere/nginx" })
	assert.ErrorContains(t, absent.Apply(t.Context(), []mitigate.Entry{two}, nil), "/nowhere/nginx")
	assert.ErrorContains(t, absent.Prepared(t.Context()), "/nowhere/nginx")
	assert.Equal(t, before, read(t, list(s)))
}

func TestAConfigurationThatNginxCantReadIsReportedAndTheListOfBeforeGoesOn(t *testing.T) {
	s, b, target := enforcing(t, func(o *nginxfile.Options) { o.ReloadTimeout = 3 * time.Second })
	one, two := entry(1, targettest.Attacker), entry(2, targettest.Customer)
	apply(t, target, one)
	right := s.Config()
	s.Configure(right + "no directive;\n")
	assert.ErrorContains(t, target.Apply(t.Context(), []mitigate.Entry{two}, nil), "goes on with the one before: see `nginx -t`")
	assert.Equal(t, refused(403, one), get(t, b, targettest.Attacker))
	assert.Equal(t, passed, get(t, b, targettest.Customer))
	_, err := target.Sync(t.Context(), []mitigate.Entry{two})
	assert.ErrorContains(t, err, "goes on with the one before")

	s.Configure(right)
	report, err := target.Sync(t.Context(), []mitigate.Entry{two})
	require.NoError(t, err)
	assert.True(t, report.Compared)
	assert.Equal(t, passed, get(t, b, targettest.Attacker))
	assert.Equal(t, refused(403, two), get(t, b, targettest.Customer))
}

// smallDisk puts a file system of a few pages in the place of a folder.
func smallDisk(t *testing.T, folder string) {
	t.Helper()
	if err := unix.Mount("offpath-test", folder, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=64k,mode=755"); errors.Is(err, unix.EPERM) {
		targettest.Absent(t, "no right to mount on this machine")
	} else {
		require.NoError(t, err)
	}
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(folder, unix.MNT_DETACH)) })
}

func TestAFullDiskKeepsTheListOfBeforeAndTheKillSwitch(t *testing.T) {
	s := nginxtest.StartPlain(t, proxied)
	smallDisk(t, s.Folder)
	b, target := balancer(s), newTarget(t, s)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	one := entry(1, targettest.Attacker)
	apply(t, target, one)
	before := read(t, list(s))
	var many []mitigate.Entry
	for i := range uint32(3000) {
		many = append(many, entry(i+2, fmt.Sprintf("127.3.%d.%d", i>>8, i&255)))
	}
	assert.ErrorIs(t, target.Apply(t.Context(), many, nil), unix.ENOSPC)
	assert.Equal(t, before, read(t, list(s)))
	onlyTheList(t, s)
	assert.Equal(t, refused(403, one), get(t, b, targettest.Attacker))

	// Nothing is left of the disk at all.
	fill, err := os.Create(filepath.Join(s.Folder, "enforce"))
	require.NoError(t, err)
	_, err = fill.Write(make([]byte, 1<<20))
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, fill.Close())
	assert.ErrorIs(t, target.Apply(t.Context(), []mitigate.Entry{entry(2, targettest.Customer)}, nil), unix.ENOSPC)
	assert.Equal(t, refused(403, one), get(t, b, targettest.Attacker))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, passed, get(t, b, targettest.Attacker))
}

func TestAFolderThatCantBeWrittenIsReportedAndTheListOfBeforeGoesOn(t *testing.T) {
	s := nginxtest.StartPlain(t, proxied)
	smallDisk(t, s.Folder)
	b, target := balancer(s), newTarget(t, s)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	one := entry(1, targettest.Attacker)
	apply(t, target, one)
	require.NoError(t, unix.Mount("", s.Folder, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	assert.ErrorIs(t, target.Apply(t.Context(), []mitigate.Entry{entry(2, targettest.Customer)}, nil), unix.EROFS)
	assert.ErrorIs(t, target.SetMode(t.Context(), detect.ModeMonitor, false), unix.EROFS)
	assert.ErrorIs(t, target.Prepared(t.Context()), unix.EROFS)
	assert.Equal(t, refused(403, one), get(t, b, targettest.Attacker))
}

func TestNoProcessButAMasterOfNginxIsSignalled(t *testing.T) {
	s, _, target := enforcing(t)
	other := exec.Command("sleep", "100")
	require.NoError(t, other.Start())
	t.Cleanup(func() {
		require.NoError(t, other.Process.Kill(), "it was not signalled")
		other.Wait()
	})
	for text, problem := range map[string]string{
		fmt.Sprint(other.Process.Pid): "is no master of nginx",
		"nginx":                       "holds no process id",
		"":                            "holds no process id",
		"-1":                          "holds no process id",
		"999999999":                   "is no master of nginx",
	} {
		require.NoError(t, os.WriteFile(s.PIDFile, []byte(text+"\n"), 0o600))
		assert.ErrorContains(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, targettest.Attacker)}, nil), problem, text)
		_, err := target.Identity(t.Context())
		assert.ErrorContains(t, err, problem, text)
	}
	require.NoError(t, os.Remove(s.PIDFile))
	assert.ErrorIs(t, target.Prepared(t.Context()), os.ErrNotExist)

	another := nginxtest.StartPlain(t, proxied)
	require.NoError(t, os.WriteFile(s.PIDFile, fmt.Append(nil, another.PID()), 0o600))
	_, err := target.Identity(t.Context())
	assert.ErrorContains(t, err, "is answered by another nginx")
}

func TestAnNginxWithoutTheRulesOrWithOthersIsNotPrepared(t *testing.T) {
	s, _, target := enforcing(t)
	require.NoError(t, target.Prepared(t.Context()))
	for name, other := range map[string]*nginxfile.Target{
		"another server": newTarget(t, s, func(o *nginxfile.Options) { o.Address = "tcp:" + strings.TrimPrefix(s.URL, "http://") }),
		"another folder": newTarget(t, s, func(o *nginxfile.Options) { o.Dir = s.Dir }),
		"another rate":   newTarget(t, s, func(o *nginxfile.Options) { o.Rates = append(o.Rates, rate(77, time.Minute)) }),
	} {
		assert.ErrorIs(t, other.Prepared(t.Context()), nginxfile.ErrNotPrepared, name)
	}
	fewer := newTarget(t, s, func(o *nginxfile.Options) { o.Rates = nil })
	assert.NoError(t, fewer.Prepared(t.Context()))
	s.Down()
	assert.Error(t, target.Prepared(t.Context()))
}

func TestNginxStartsWithoutAnyFileOfOffpath(t *testing.T) {
	s, b, target := enforcing(t)
	e := entry(1, targettest.Attacker)
	apply(t, target, e)
	s.Down()
	require.NoError(t, os.RemoveAll(s.Folder))
	s.Up()
	assert.Equal(t, passed, get(t, b, targettest.Attacker))
	mode(t, target, detect.ModeOff, false)
	assert.ErrorIs(t, target.Prepared(t.Context()), os.ErrNotExist)
}

func TestAListThatSomebodyElseChangedIsFoundAtOnceAndPutRight(t *testing.T) {
	s, b, target := enforcing(t)
	e := entry(1, targettest.Attacker)
	apply(t, target, e)
	before, err := target.Identity(t.Context())
	require.NoError(t, err)
	replace := func(text string) func() error {
		return func() error { return os.WriteFile(list(s), []byte(text), 0o600) }
	}
	for name, change := range map[string]func() error{
		"removed":              func() error { return os.Remove(list(s)) },
		"emptied":              replace(""),
		"something else":       replace("geo $offpath_held { default \"\"; }\n"),
		"another in its midst": replace(strings.Replace(read(t, list(s)), "127.1.2.3/32", "127.1.2.4/32", 1)),
	} {
		require.NoError(t, change(), name)
		s.Reload()
		if name != "another in its midst" { // which a comparison alone sees
			assert.ErrorContains(t, target.Apply(t.Context(), []mitigate.Entry{entry(2, "192.0.2.1")}, nil), "changed by somebody else", name)
		}
		report, err := target.Sync(t.Context(), []mitigate.Entry{e})
		require.NoError(t, err)
		assert.Equal(t, mitigate.SyncReport{Compared: true, Set: 1}, report, name)
		assert.Equal(t, refused(403, e), get(t, b, targettest.Attacker), name)
		assert.Equal(t, passed, get(t, b, targettest.Customer), name)
	}
	require.NoError(t, os.Remove(list(s)))
	s.Reload()
	after, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, before.Process, after.Process, "what nginx had is gone, as at a restart")
	again, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.Equal(t, after.Process, again.Process)
	require.NoError(t, target.SetAllow(t.Context(), nil))
	assert.Equal(t, refused(403, e), get(t, b, targettest.Attacker), "not even until the comparison does it lack what is known")
}

// relay stands between a target and nginx's own server for it, and does to connections what
// busy hosts do.
type relay struct {
	to   string
	mu   sync.Mutex
	dice *rand.Rand // nil: no faults
}

func startRelay(t *testing.T, to string) (*relay, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{to: to}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return r, "tcp:" + l.Addr().String()
}

func (r *relay) set(dice *rand.Rand) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dice = dice
}

func (r *relay) serve(c net.Conn) {
	defer c.Close()
	r.mu.Lock()
	fate, octets := 9, int64(1<<40)
	if r.dice != nil {
		fate, octets = r.dice.IntN(10), r.dice.Int64N(300)
	}
	r.mu.Unlock()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	switch fate {
	case 0:
		return // refused
	case 1:
		io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>")
		return
	case 2:
		time.Sleep(600 * time.Millisecond) // later than it is waited for
		return
	case 3: // cut
	default:
		octets = 1 << 40
	}
	up, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer up.Close()
	up.SetDeadline(time.Now().Add(5 * time.Second))
	go io.Copy(up, c)
	io.Copy(c, io.LimitReader(up, octets))
}

func TestAfterRandomFaultsNginxHoldsExactlyWhatIsWanted(t *testing.T) {
	const seed = 5
	dice := rand.New(rand.NewPCG(seed, 0))
	s := nginxtest.StartPlain(t, proxied)
	between, address := startRelay(t, strings.TrimPrefix(s.Address, "tcp:"))
	sometimes := filepath.Join(s.Dir, "sometimes")
	require.NoError(t, os.WriteFile(sometimes, []byte("#!/bin/sh\n[ -e "+s.Dir+"/fails ] && exit 1\nexec "+s.Program+" \"$@\"\n"), 0o700))
	fresh := func() *nginxfile.Target {
		return newTarget(t, s, func(o *nginxfile.Options) {
			o.Address, o.Program, o.Timeout, o.ReloadTimeout = address, sometimes, 500*time.Millisecond, 2*time.Second
		})
	}
	target := fresh()
	right := s.Config()
	var clients []string
	for i := range 8 {
		clients = append(clients, fmt.Sprintf("198.51.100.%d", i), fmt.Sprintf("2001:db8:%d::/48", i))
	}
	wanted := map[int]mitigate.Entry{}
	entries := func() (all []mitigate.Entry) {
		for i := range clients {
			if e, is := wanted[i]; is {
				all = append(all, e)
			}
		}
		return all
	}
	compare := func() error {
		if err := target.SetAllow(t.Context(), nil); err != nil {
			return err
		}
		_, err := target.Sync(t.Context(), entries())
		return err
	}
	ask := func(i int) targettest.Answer {
		a := targettest.Get(t, targettest.Proxy, s.URL+"/", "X-Forwarded-For", strings.Replace(clients[i], "/48", "7", 1))
		a.Elapsed = 0
		return a
	}
	exact := func(when string) {
		t.Helper()
		for i := range clients {
			want := passed
			if e, is := wanted[i]; is {
				want = refused(403, e)
			}
			require.Equal(t, want, ask(i), "%s: %s", when, clients[i])
		}
	}
	between.set(nil)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	between.set(rand.New(rand.NewPCG(seed, 1)))
	failed, failures, applied := true, 0, 0 // as with the controller, a comparison follows a failure
	for step := range 45 {
		var set []mitigate.Entry
		var remove []detect.Subject
		for _, i := range dice.Perm(len(clients))[:1+dice.IntN(3)] {
			if e, is := wanted[i]; is && dice.IntN(2) == 0 {
				delete(wanted, i)
				remove = append(remove, e.Subject)
				continue
			}
			e := entry(uint32(step*10+i+1), clients[i])
			wanted[i] = e
			set = append(set, e)
		}
		mend := func() {}
		switch dice.IntN(14) {
		case 0:
			s.Down()
			s.Up()
		case 1:
			s.Configure(right + "}")
			mend = func() { s.Configure(right) }
		case 2:
			require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "fails"), nil, 0o600))
			mend = func() { require.NoError(t, os.Remove(filepath.Join(s.Dir, "fails"))) }
		case 3:
			require.NoError(t, os.WriteFile(list(s), []byte("# cut"), 0o600))
		case 4:
			os.Remove(list(s))
			s.Reload()
		case 5: // offpath was killed
			target = fresh()
			failed = true
			require.NoError(t, os.MkdirAll(filepath.Join(s.Folder, "pending", "rest"), 0o700))
		case 6:
			pid := read(t, s.PIDFile)
			require.NoError(t, os.Remove(s.PIDFile))
			mend = func() { require.NoError(t, os.WriteFile(s.PIDFile, []byte(pid), 0o600)) }
		case 7:
			s.Reload()
		}
		var err error
		if failed {
			err = compare()
		} else {
			err = target.Apply(t.Context(), set, remove)
		}
		mend()
		if failed = err != nil; failed {
			failures++
		} else {
			applied++
			exact(fmt.Sprintf("step %d was said to be in force", step))
		}
	}
	t.Logf("%d orders failed, %d did not", failures, applied)
	require.Greater(t, failures, 5, "the faults are there")
	require.Greater(t, applied, 5)
	target = newTarget(t, s) // with time enough
	require.NoError(t, compare())
	exact("in the end")
	report, err := target.Sync(t.Context(), entries())
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: len(wanted), Compared: true}, report)
	onlyTheList(t, s)
}
