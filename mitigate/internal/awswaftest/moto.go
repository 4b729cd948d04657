package awswaftest

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/targettest"
)

// StartMoto runs moto's server and returns its URL. The test is skipped where
// testdata/setup/packages.sh could not fetch it, and fails in CI.
func StartMoto(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	found, err := filepath.Glob(filepath.Join(cache, "offpath", "moto-*", "ready"))
	require.NoError(t, err)
	if len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("moto's server is not there: ./testdata/setup/packages.sh moto fetches it")
		}
		t.Skip("moto's server is not there: ./testdata/setup/packages.sh moto fetches it")
	}
	address := fmt.Sprintf("127.0.0.1:%d", targettest.FreePorts(t, 1)[0])
	_, port, _ := bytes.Cut([]byte(address), []byte(":"))
	var output bytes.Buffer
	server := exec.Command(filepath.Join(filepath.Dir(found[len(found)-1]), "bin", "moto_server"), "-H", "127.0.0.1", "-p", string(port))
	server.Stdout, server.Stderr = &output, &output
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	client := http.Client{Timeout: time.Second}
	require.Eventually(t, func() bool {
		response, err := client.Get("http://" + address + "/moto-api/")
		if err == nil {
			response.Body.Close()
		}
		return err == nil
	}, 3*targettest.Wait, 50*time.Millisecond, "moto does not answer")
	return "http://" + address
}
