package main_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/filter"
)

// outputs are the three files of one replay.
type outputs struct{ transactions, findings, verdicts string }

// replayAll replays with all outputs and reads them.
func replayAll(t *testing.T, args ...string) (outputs, result) {
	t.Helper()
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	r := run(t, append([]string{"replay", "--transactions", path("t"), "--findings", path("f"), "--verdicts", path("v")}, args...)...)
	read := func(name string) string {
		content, err := os.ReadFile(path(name))
		require.NoError(t, err, "a named output is created even when nothing is written to it")
		return string(content)
	}
	assert.Empty(t, r.stdout)
	return outputs{read("t"), read("f"), read("v")}, r
}

func TestReplayFindsTheAttack(t *testing.T) {
	out, r := replayAll(t, attack(t).save("attack.pcapng"))
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Empty(t, r.stderr)
	assert.Equal(t, 60*2+6+80, strings.Count(out.transactions, "\n"))
	assert.NotEmpty(t, out.findings)
	require.NotEmpty(t, out.verdicts)
	found := map[string]bool{}
	for line := range strings.Lines(out.verdicts) {
		var v struct {
			Offpath struct {
				Subject struct{ Client struct{ IP string } }
			}
		}
		require.NoError(t, json.Unmarshal([]byte(line), &v))
		found[v.Offpath.Subject.Client.IP] = true
	}
	assert.Equal(t, map[string]bool{"192.0.2.1": true, "192.0.2.2": true}, found)
}

func TestTheFileOfAccountsIsAnOutputOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.jsonl")
	r := run(t, "replay", "--accounts", path, attack(t).save("attack.pcapng"))
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Empty(t, r.stdout, "no report beside it")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Empty(t, string(content), "two addresses are no campaign")
}

func TestAFilterLeavesOutTheRestBeforeDetection(t *testing.T) {
	path := attack(t).save("attack.pcapng")
	all, _ := replayAll(t, path)
	whole := save(t, "all.jsonl", []byte(all.transactions))
	const one = `client.ip == "192.0.2.1" && http.request.method == "POST"`
	want, r := replayAll(t, "--filter", one, "--workers", "1", path)
	assert.Equal(t, 0, r.status, r.stderr)

	count := 0
	for line := range strings.Lines(all.transactions) {
		var tx struct {
			Client struct{ IP string }
			HTTP   struct{ Request struct{ Method string } }
		}
		require.NoError(t, json.Unmarshal([]byte(line), &tx))
		if tx.Client.IP == "192.0.2.1" && tx.HTTP.Request.Method == "POST" {
			count++
		}
	}
	assert.NotZero(t, count)
	assert.Equal(t, count, strings.Count(want.transactions, "\n"))
	assert.NotContains(t, want.findings+want.verdicts, "192.0.2.2")

	for _, args := range [][]string{{"--workers", "7", path}, {whole}} {
		got, r := replayAll(t, append([]string{"--filter", one}, args...)...)
		assert.Equal(t, 0, r.status, r.stderr)
		assert.Equal(t, want, got, "%v", args)
	}
	everything, _ := replayAll(t, "--filter", "true", path)
	assert.Equal(t, all, everything)
	nothing, r := replayAll(t, "--filter", "false", path)
	assert.Equal(t, outputs{}, nothing)
	assert.Equal(t, 0, r.status)
}

func TestTheFiltersInTheHelpCompile(t *testing.T) {
	_, examples, found := strings.Cut(run(t, "help", "replay").stdout, "by\ntheir names there; @timestamp is timestamp:\n")
	require.True(t, found)
	count := 0
	for line := range strings.Lines(examples) {
		expression, ok := strings.CutPrefix(line, "  ")
		if !ok {
			break
		}
		_, err := filter.Compile(expression)
		require.NoError(t, err, expression)
		count++
	}
	assert.Equal(t, 4, count)
}

func TestOutputDoesNotDependOnTheNumberOfWorkers(t *testing.T) {
	path := attack(t).save("attack.pcapng")
	want, _ := replayAll(t, "--workers", "1", path)
	for _, workers := range []string{"2", "7", "8"} {
		got, _ := replayAll(t, "--workers", workers, path)
		assert.Equal(t, want, got, "%s workers", workers)
	}
}

func TestTransactionsReplayLikeTheCaptureTheyCameFrom(t *testing.T) {
	want, _ := replayAll(t, attack(t).save("attack.pcapng"))
	lines := []byte(want.transactions)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write(lines)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	encoder, err := zstd.NewWriter(nil)
	require.NoError(t, err)

	half := bytes.Index(lines[len(lines)/2:], []byte("\n")) + len(lines)/2 + 1
	for name, inputs := range map[string][]string{
		"plain":                {save(t, "t.jsonl", lines)},
		"gzip":                 {save(t, "t.jsonl.gz", zipped.Bytes())},
		"Zstandard":            {save(t, "t.jsonl.zst", encoder.EncodeAll(lines, nil))},
		"two files, any order": {save(t, "b.jsonl", lines[half:]), save(t, "a.jsonl", lines[:half])},
	} {
		t.Run(name, func(t *testing.T) {
			got, r := replayAll(t, inputs...)
			assert.Equal(t, 0, r.status, r.stderr)
			assert.Equal(t, want, got)
		})
	}
}

func TestAnEmptyFileOfTransactionsIsFine(t *testing.T) {
	out, r := replayAll(t, save(t, "none.jsonl", nil))
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Equal(t, outputs{}, out)
}

func TestStandardInputIsReplayedLikeAFile(t *testing.T) {
	content := attack(t).bytes()
	c := command("replay", "--transactions", "-", "-")
	c.Stdin = bytes.NewReader(content)
	piped := finish(t, c)
	assert.Equal(t, 0, piped.status, piped.stderr)
	assert.Equal(t, string(runReplay(t, "--transactions", "-", save(t, "a.pcapng", content))), piped.stdout)
}

func TestADamagedCaptureGivesWhatComesBeforeTheDamageAndStatus3(t *testing.T) {
	content := attack(t).bytes()
	whole := string(runReplay(t, "--transactions", "-", save(t, "whole.pcapng", content)))
	warning := regexp.MustCompile(`^\{"level":"warn","file":"([^"]+)","offset":(\d+),.*"message":"([^"]+): damaged at byte (\d+): .*"\}\n$`)
	for _, cut := range []int{len(content) / 4, len(content) / 2, len(content) - 1} {
		path := save(t, "cut.pcapng", content[:cut])
		r := run(t, "replay", "--transactions", "-", path)
		assert.Equal(t, 3, r.status)
		named := warning.FindStringSubmatch(r.stderr)
		if assert.NotNil(t, named, r.stderr) {
			assert.Equal(t, []string{path, path}, []string{named[1], named[3]})
			assert.Equal(t, named[2], named[4])
		}
		// Cutting may leave one request without its response.
		complete := strings.Count(r.stdout, `"complete":true`)
		assert.Positive(t, complete)
		for line := range strings.Lines(r.stdout) {
			if strings.Contains(line, `"complete":true`) {
				assert.Contains(t, whole, line)
			}
		}
	}
}

func TestADamagedFileOfTransactionsGivesWhatComesBeforeAndStatus3(t *testing.T) {
	lines := runReplay(t, "--transactions", "-", attack(t).save("attack.pcapng"))
	third := bytes.Join(bytes.SplitAfterN(lines, []byte("\n"), 4)[:3], nil)
	path := save(t, "cut.jsonl", lines[:len(third)+20])
	r := run(t, "replay", "--transactions", "-", path)
	assert.Equal(t, 3, r.status)
	assert.Equal(t, string(third), r.stdout)
	assert.Contains(t, r.stderr, `"offset":`+itoa(len(third)))
	assert.Contains(t, r.stderr, path)
}

func TestACutInTimeGivesTheLinesUpToThere(t *testing.T) {
	path := attack(t).save("attack.pcapng")
	full, _ := replayAll(t, path)
	cut, r := replayAll(t, "--to", "2026-01-31T09:01:05Z", path)
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Less(t, len(cut.transactions), len(full.transactions))
	assert.True(t, strings.HasPrefix(full.transactions, cut.transactions))
	assert.True(t, strings.HasPrefix(full.findings, cut.findings))
	assert.True(t, strings.HasPrefix(full.verdicts, cut.verdicts))
}

func TestWithoutOutputsAReportIsPrinted(t *testing.T) {
	r := run(t, "replay", attack(t).save("attack.pcapng"))
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Empty(t, r.stderr, "progress is for terminals")
	for _, part := range []string{
		`(?m)^Requests   206, 206 answered$`, `(?m)^Statuses   2xx 120, 4xx 86$`, `(?m)^ +146  POST bank\.example/api/login$`,
		`(?m)^Logins     146$`, `(?m)^Findings   [1-9]`, `(?m)^Verdicts   2$`, `block +192\.0\.2\.1 +until`, `(?m)^Losses     none$`,
	} {
		assert.Regexp(t, part, r.stdout)
	}
}

func TestAReportShowsNoControlCharactersOffTheWire(t *testing.T) {
	s := newSynth(t)
	c := s.connect("198.51.100.1:4000")
	c.exchange("GET /\x1b[2J\x07 HTTP/1.1\r\nHost: bank.example\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	c.close()
	r := run(t, "replay", s.save("escape.pcapng"))
	assert.NotContains(t, r.stdout, "\x1b")
	assert.NotContains(t, r.stdout, "\x07")
	assert.Contains(t, r.stdout, "bank.example/")
}

func TestHashKeysChangeHashesAndNothingElse(t *testing.T) {
	path := attack(t).save("attack.pcapng")
	key := save(t, "key", []byte("another key of sixteen octets or more\n"))
	fixed, _ := replayAll(t, path)
	other, _ := replayAll(t, "--hash-key", "file:"+key, path)
	assert.NotEqual(t, fixed.transactions, other.transactions)
	id := regexp.MustCompile(`"event":\{"id":"[^"]+"`)
	assert.Equal(t, id.FindAllString(fixed.transactions, -1), id.FindAllString(other.transactions, -1))
	assert.Equal(t, fixed.verdicts, other.verdicts)
	assert.NotContains(t, fixed.transactions, "guess7")
	clear, _ := replayAll(t, "--cleartext", path)
	assert.Contains(t, clear.transactions, "guess7")
}

func TestDetailAddsFieldsAndKeepsTheRest(t *testing.T) {
	path := attack(t).save("attack.pcapng")
	plain := runReplay(t, "--transactions", "-", path)
	detailed := runReplay(t, "--detail", "headers,bodies", "--transactions", "-", path)
	assert.NotContains(t, string(plain), "header_fields")
	assert.Contains(t, string(detailed), `"header_fields":[["Host","bank.example"]`)
	assert.Contains(t, string(detailed), `"sha256":"`)
	assert.Equal(t, bytes.Count(plain, []byte("\n")), bytes.Count(detailed, []byte("\n")))
}

func TestOutputsAreTruncatedNotAddedTo(t *testing.T) {
	path := attack(t).save("attack.pcapng")
	out := save(t, "out.jsonl", bytes.Repeat([]byte("old\n"), 1<<20))
	runReplay(t, "--transactions", out, path)
	content, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, string(runReplay(t, "--transactions", "-", path)), string(content))
}

func TestACaptureCutAnywhereGivesWhatIsBeforeTheCutAndStatus3(t *testing.T) {
	const header = 28 // octets of the section header block: less is no capture yet
	content := attack(t).bytes()
	lengths := blockLengths(content)
	whole := string(runReplay(t, "--transactions", "-", save(t, "whole.pcapng", content)))
	const cuts = 200
	judged := 0
	for i := range cuts {
		cut := header + (len(content)-header)*i/cuts
		r := run(t, "replay", "--transactions", "-", save(t, "cut.pcapng", content[:cut]))
		want := 3
		if lengths[cut] {
			want = 0 // a block ends here: nothing shows that more was meant to come
		}
		require.Equal(t, want, r.status, "cut at %d: %s", cut, r.stderr)
		for line := range strings.Lines(r.stdout) {
			if strings.Contains(line, `"complete":true`) {
				require.Contains(t, whole, line, "cut at %d", cut)
				judged++
			}
		}
	}
	assert.Greater(t, judged, cuts)
}

// blockLengths are the lengths to which a pcapng may be cut without damage.
func blockLengths(content []byte) map[int]bool {
	ends := map[int]bool{}
	for at := 0; at+8 <= len(content); {
		at += int(binary.LittleEndian.Uint32(content[at+4:]))
		ends[at] = true
	}
	return ends
}
