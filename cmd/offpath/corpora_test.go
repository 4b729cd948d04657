package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// corpora lies beside the project; its README says what is in it.
const corpora = "../../../shared/corpora"

// corpusCase is what index.json and case.json say of a case.
type corpusCase struct {
	ID         string
	Corpus     string
	Tags       []string
	Oracle     string
	Crosscheck *struct{ Agrees bool }
	Pcaps      []string
}

// beyond are the tags of what is not HTTP/1 on Ethernet without tunnels.
var beyond = []string{
	"encapsulation", "ip-in-ip-or-tunnel", "gre", "nflog", "802.11", "http2", "tls-decryption",
	"link:null", "link:rawip4", "link:nflog", "link:ieee-802-11-radiotap",
}

// contested are cases whose count is not judged, each with the reason.
var contested = map[string]string{
	"arkime/socks5-http-302-frag": "the request lies in IP fragments within a SOCKS tunnel; fragments are counted, not put together",
}

// message is a request or the response to it, as a second program reads it.
type oracleMessage struct {
	Source  string `json:"ip.src"`
	Source6 string `json:"ipv6.src"`
	Port    string `json:"tcp.srcport"`
	Peer    string `json:"tcp.dstport"`
	Stream  string `json:"tcp.stream"`
	Method  string `json:"http.request.method"`
	URI     string `json:"http.request.uri"`
	Status  string `json:"http.response.code"`
}

func TestReplayListsTheRequestsThatTwoOtherProgramsAgreeOn(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(corpora, "index.json"))
	if err != nil {
		t.Skipf("the corpora are not beside the project: %v", err)
	}
	var cases []corpusCase
	require.NoError(t, json.Unmarshal(index, &cases))
	judged, passed, requests := 0, 0, 0
	for _, c := range cases {
		if c.Crosscheck == nil || !c.Crosscheck.Agrees || slices.ContainsFunc(c.Tags, func(tag string) bool { return slices.Contains(beyond, tag) }) {
			continue
		}
		if reason := contested[c.ID]; reason != "" {
			t.Logf("%s is not judged: %s", c.ID, reason)
			continue
		}
		judged++
		want := readExpected(t, c)
		if t.Run(c.ID, func(t *testing.T) {
			var inputs []string
			for _, name := range c.Pcaps {
				inputs = append(inputs, filepath.Join(corpora, c.ID, name))
			}
			got := replayRequests(t, inputs)
			for i := range min(len(want), len(got)) {
				// What the other program did not tell of a request is not judged.
				request, unanswered := strings.CutSuffix(want[i], " -")
				ours := got[i]
				if anywhere, ok := strings.CutPrefix(request, "* "); ok {
					request, ours = anywhere, ours[strings.IndexByte(ours, ' ')+1:]
				}
				if unanswered && strings.HasPrefix(ours, request+" ") {
					got[i] = want[i]
				}
			}
			require.Equal(t, want, got)
		}) {
			passed++
		}
		requests += len(want)
	}
	fmt.Printf("corpora: %d of %d cases list the same requests (method, URI, status), %d requests in all\n", passed, judged, requests)
}

// readExpected returns the requests of a case in the form of readOracle. Where
// the programs agree on a body alone, its one request is known without status.
func readExpected(t *testing.T, c corpusCase) []string {
	if c.Oracle != "" {
		return readOracle(t, filepath.Join(corpora, c.ID, c.Oracle))
	}
	text, err := os.ReadFile(filepath.Join(corpora, c.ID, "expect.json"))
	require.NoError(t, err)
	var expected struct{ URI string }
	require.NoError(t, json.Unmarshal(text, &expected))
	require.NotEmpty(t, expected.URI, "%s has neither requests nor the URI of one", c.ID)
	return []string{"* GET " + expected.URI + " -"}
}

// readOracle returns the requests as "port method uri status", sorted. The
// n-th final response on a connection answers its n-th request.
func readOracle(t *testing.T, path string) []string {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	type connection struct{ requests, statuses []string }
	streams := map[string]*connection{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var m oracleMessage
		require.NoError(t, json.Unmarshal(lines.Bytes(), &m))
		c := streams[m.Stream]
		if c == nil {
			c = &connection{}
			streams[m.Stream] = c
		}
		if m.Method != "" {
			c.requests = append(c.requests, m.Port+" "+m.Method+" "+m.URI)
		} else if status, _ := strconv.Atoi(m.Status); status >= 200 || status == 101 {
			c.statuses = append(c.statuses, m.Status)
		}
	}
	require.NoError(t, lines.Err())
	list := []string{}
	for _, c := range streams {
		for i, r := range c.requests {
			status := "-"
			if i < len(c.statuses) {
				status = c.statuses[i]
			}
			list = append(list, r+" "+status)
		}
	}
	slices.Sort(list)
	return list
}

// replayRequests returns what replay lists, in the form of readOracle.
func replayRequests(t *testing.T, inputs []string) []string {
	out := runReplay(t, append([]string{"--transactions", "-"}, inputs...)...)
	list := []string{}
	for line := range bytes.Lines(out) {
		var tx struct {
			Source struct{ Port int }
			HTTP   struct {
				Request  struct{ Method string }
				Response struct {
					Status int `json:"status_code"`
				}
			}
			URL struct{ Original string }
		}
		require.NoError(t, json.Unmarshal(line, &tx))
		status := "-"
		if tx.HTTP.Response.Status != 0 {
			status = strconv.Itoa(tx.HTTP.Response.Status)
		}
		list = append(list, fmt.Sprintf("%d %s %s %s", tx.Source.Port, tx.HTTP.Request.Method, strings.ReplaceAll(tx.URL.Original, `\\`, `\`), status))
	}
	slices.Sort(list)
	return list
}
