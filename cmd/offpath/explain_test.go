package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/offpath/internal/explain"
)

// decisions replays input and leaves findings and verdicts in files.
func decisions(t *testing.T, input string) (findings, verdicts string) {
	t.Helper()
	folder := t.TempDir()
	findings, verdicts = filepath.Join(folder, "f"), filepath.Join(folder, "v")
	r := run(t, "replay", "--findings", findings, "--verdicts", verdicts, input)
	require.Equal(t, 0, r.status, r.stderr)
	return findings, verdicts
}

var eventID = regexp.MustCompile(`"event":\{"id":"([0-9a-f]{16})"`)

// idsIn lists the ids of a file's lines, each once.
func idsIn(t *testing.T, path string) (list []string) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, m := range eventID.FindAllStringSubmatch(string(content), -1) {
		list = append(list, m[1])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func TestEveryFindingAndVerdictOfAReplayIsExplained(t *testing.T) {
	capture := attack(t).save("attack.pcapng")
	findings, verdicts := decisions(t, capture)
	transactions := filepath.Join(t.TempDir(), "t")
	require.Equal(t, 0, run(t, "replay", "--transactions", transactions, capture).status)
	ids := idsIn(t, verdicts)
	require.Len(t, ids, 2)
	for _, id := range ids {
		r := run(t, "explain", id, "--findings", findings, "--verdicts", verdicts, "--transactions", transactions)
		assert.Equal(t, 0, r.status, r.stderr)
		assert.Empty(t, r.stderr)
		for _, want := range []string{"Verdict " + id, "Block 192.0.2.", "What was compared", "failures", "POST bank.example/api/login  401 rejected", "offpath lift " + id} {
			assert.Contains(t, r.stdout, want)
		}
		r = run(t, "explain", "--json", id, "--findings", findings, "--verdicts", verdicts)
		var e struct {
			Kind     string
			Findings []struct {
				Event struct{ ID string }
			}
		}
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &e), r.stdout)
		assert.Equal(t, "verdict", e.Kind)
		require.Len(t, e.Findings, 1)
		assert.Contains(t, run(t, "explain", e.Findings[0].Event.ID, "--findings", findings, "--verdicts", verdicts).stdout, "Verdicts decided for it: 1")
	}
}

func TestEveryVerdictOfTheLabsScenariosIsExplained(t *testing.T) {
	if testing.Short() {
		t.Skip("scenarios are hundreds of megabytes")
	}
	folder := t.TempDir()
	lab := filepath.Join(folder, "lab")
	out, err := exec.Command("go", "build", "-o", lab, "../lab").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for scenario, want := range map[string]string{"B1": "Verdict", "B7": "One wrong password was tried", "N9": "held for out of order"} {
		t.Run(scenario, func(t *testing.T) {
			input := filepath.Join(t.TempDir(), scenario)
			out, err := exec.Command(lab, "detect", "-write", input, "-scenario", scenario, "-seed", "1").CombinedOutput()
			require.NoError(t, err, "%s", out)
			findings, verdicts := decisions(t, filepath.Join(input, scenario+"-seed-1.jsonl"))
			all := ""
			for _, id := range append(idsIn(t, findings), idsIn(t, verdicts)...) {
				e, err := explain.FromFiles(id, findings, verdicts)
				require.NoError(t, err)
				var b strings.Builder
				require.NoError(t, explain.Write(&b, e, 0))
				assert.Contains(t, b.String(), "What was compared", id)
				assert.NotContains(t, b.String(), "The statistic came to", "the rule is known")
				assert.NotContains(t, b.String(), "no longer kept", "every finding behind it was written")
				all += b.String()
			}
			assert.Contains(t, all, want)
		})
	}
}

func TestExplainSaysWhatIsWrong(t *testing.T) {
	findings, verdicts := decisions(t, attack(t).save("attack.pcapng"))
	id := idsIn(t, verdicts)[0]
	content, err := os.ReadFile(verdicts)
	require.NoError(t, err)
	line, _, _ := strings.Cut(string(content), "\n")
	cut := save(t, "cut", append(content, line[:len(line)-9]...))
	for _, c := range []struct {
		name   string
		args   []string
		status int
		stderr string
	}{
		{"no id", nil, 2, "ID is missing"},
		{"an id that is none", []string{"x", "--findings", findings}, 2, `"x" is not 16 hex digits`},
		{"an id that nothing has", []string{"00000001000000ff", "--findings", findings, "--verdicts", verdicts}, 1, "no finding or verdict has the id 00000001000000ff in " + findings + " and " + verdicts},
		{"a file that is not there", []string{id, "--findings", findings + "x"}, 2, findings + "x: no such file or directory"},
		{"a folder", []string{id, "--findings", filepath.Dir(findings)}, 2, "is a folder, not a file of JSON Lines"},
		{"transactions that are not there", []string{id, "--findings", findings, "--verdicts", verdicts, "--transactions", "/none/t"}, 2, "/none/t: no such file or directory"},
		{"nobody to ask", []string{id}, 1, "no offpath runs here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			command := command(append([]string{"explain"}, c.args...)...)
			command.Env = append(command.Env, "OFFPATH_ADMIN_SOCKET="+filepath.Join(t.TempDir(), "none.sock"))
			r := finish(t, command)
			assert.Equal(t, c.status, r.status)
			assert.Contains(t, r.stderr, c.stderr)
			assert.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
			assert.Empty(t, r.stdout)
		})
	}
	t.Run("a file that is cut short", func(t *testing.T) {
		r := run(t, "explain", idOf(t, line), "--findings", findings, "--verdicts", cut)
		assert.Equal(t, 3, r.status)
		assert.Contains(t, r.stderr, cut+": damaged at byte "+itoa(len(content)))
		assert.Contains(t, r.stdout, "Verdict "+idOf(t, line))
	})
}

func idOf(t *testing.T, line string) string {
	t.Helper()
	m := eventID.FindStringSubmatch(line)
	require.NotNil(t, m, line)
	return m[1]
}

func TestARunningOffpathExplainsWhatItDecidedAlsoAfterARestart(t *testing.T) {
	needRoot(t)
	c := service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo")
	again := command("run")
	again.Env = c.Env
	r := startService(t, c)
	url := loginSite(t)
	for i := range 40 {
		user := "customer" + itoa(i)
		logIn(t, url, "127.0.1."+itoa(i+1), user, user)
	}
	for i := range 60 {
		logIn(t, url, "127.0.2.1", "victim"+itoa(i), "guess"+itoa(i))
	}
	var id, finding string
	eventually(t, func() bool {
		_, body := r.get("/api/v1/verdicts")
		if m := eventID.FindStringSubmatch(body); m != nil {
			id = m[1]
		}
		return id != ""
	}, "a verdict")
	_, body := r.get("/api/v1/findings")
	finding = idOf(t, body)

	order := func(args ...string) result {
		c := command(args...)
		c.Env = append(c.Env, "OFFPATH_ADMIN_SOCKET="+setting(again, "OFFPATH_ADMIN_SOCKET"))
		return finish(t, c)
	}
	asked := func(when string) {
		for id, want := range map[string][]string{
			id:      {"Verdict " + id, "(it is in force)", "Finding " + finding, "failures", "What was done", "accepted", "offpath lift " + id},
			finding: {"Finding " + finding, "Verdicts decided for it: 1"},
		} {
			said := order("explain", id)
			assert.Equal(t, 0, said.status, "%s: %s", when, said.stderr)
			for _, text := range want {
				assert.Contains(t, said.stdout, text, when)
			}
		}
	}
	asked("at once")
	unknown := order("explain", "00000001000000ff")
	assert.Equal(t, 1, unknown.status)
	assert.Contains(t, unknown.stderr, "no finding or verdict that is kept has this id")
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))

	r = startService(t, again)
	asked("after a restart")
	_, body = r.get("/api/v1/findings")
	assert.Contains(t, body, finding)
	require.Equal(t, 0, order("lift", id).status)
	lifted := order("explain", id)
	for _, text := range []string{"it has been lifted", "Finding " + finding, "lifted", "To undo: nothing"} {
		assert.Contains(t, lifted.stdout, text)
	}
	status, body := r.get("/api/v1/explain/" + id)
	assert.Equal(t, 200, status, body)
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))
}
