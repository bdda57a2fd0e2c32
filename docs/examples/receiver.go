// A receiver that needs nothing but Go: WEBHOOK_SECRET=... PORT=8080 go run receiver.go
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	tolerance = 5 * time.Minute
	bodyMax   = 1_000_000
)

var key = keyOf(os.Getenv("WEBHOOK_SECRET"))

// with a stop in an id, a part of a signed body could pass as the timestamp
var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

func keyOf(secret string) []byte {
	if secret == "" {
		log.Fatal("WEBHOOK_SECRET is not set")
	}
	if !strings.HasPrefix(secret, "whsec_") {
		return []byte(secret)
	}
	key, err := base64.StdEncoding.DecodeString(secret[len("whsec_"):])
	if err != nil || len(key) == 0 {
		log.Fatal("WEBHOOK_SECRET is not base64 after whsec_")
	}
	return key
}

// isVerified reports whether the message was signed with the secret, just now.
func isVerified(body []byte, headers http.Header) bool {
	id, timestamp := headers.Get("webhook-id"), headers.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if !idForm.MatchString(id) || err != nil || time.Since(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, given := range strings.Fields(headers.Get("webhook-signature")) {
		if hmac.Equal([]byte(given), []byte(expected)) {
			return true
		}
	}
	return false
}

func receive(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, bodyMax))
	if err != nil {
		response.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if !isVerified(body, request.Header) {
		response.WriteHeader(http.StatusUnauthorized)
		return
	}
	// store it here, unless its id is known; do what takes longer after the answer
	fmt.Printf("%s %s\n", request.Header.Get("webhook-id"), body)
}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Listening on http://%s/\n", listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(receive)))
}
