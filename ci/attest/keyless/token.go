package keyless

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"dagger/gantry/ci/wire"
)

// Audience is that of the tokens which Fulcio takes.
const Audience = "sigstore"

// Tokens are a source of identity tokens.
type Tokens struct {
	// Token is an identity token.
	Token string
	// URL and Bearer request one: those that GitHub Actions gives to a job with the
	// permission id-token: write.
	URL, Bearer string
	// RootCAs are certificates in PEM to trust in addition to the system's, or nil.
	RootCAs []byte
	// Transport of the requests. By default, one that trusts RootCAs.
	Transport http.RoundTripper
	// Pause waits between two tries. By default, for real.
	Pause func(context.Context, time.Duration) error
}

const (
	tokenTries = 4
	maxAnswer  = 1 << 20
)

// token returns an identity token. The errors contain no part of it.
func (s Tokens) token(ctx context.Context) (string, claims, error) {
	token := s.Token
	if token == "" {
		var err error
		if token, err = s.request(ctx); err != nil {
			return "", claims{}, fmt.Errorf("request an identity token: %w", err)
		}
	}
	c, err := parseToken(token)
	if err == nil && c.expired(time.Now()) {
		err = fmt.Errorf("it expired at %s: pass one that lives longer than the build, or let Gantry request it with --oidc-request-url and --oidc-request-token",
			time.Unix(c.Expires, 0).UTC().Format(time.RFC3339))
	}
	if err != nil {
		return "", claims{}, fmt.Errorf("identity token: %w", err)
	}
	return token, c, nil
}

// request asks for a token until there is one or the answer is final.
func (s Tokens) request(ctx context.Context) (string, error) {
	address, err := url.Parse(s.URL)
	if err != nil || address.Scheme != "https" && address.Scheme != "http" || address.Host == "" {
		return "", errors.New("--oidc-request-url is not a URL: pass env:ACTIONS_ID_TOKEN_REQUEST_URL of a job with the permission id-token: write")
	}
	query := address.Query()
	query.Set("audience", Audience)
	address.RawQuery = query.Encode()
	transport, err := wire.TransportOr(s.Transport, s.RootCAs)
	if err != nil {
		return "", err
	}
	pause := s.Pause
	if pause == nil {
		pause = wire.Sleep
	}
	client := http.Client{Transport: transport, Timeout: 30 * time.Second}
	var token string
	var failed error
	_, err = wire.Until(tokenTries, func() (bool, error) {
		var again bool
		token, again, failed = ask(ctx, client, address.String(), s.Bearer)
		return failed == nil || !again, nil
	}, func(n int) error { return pause(ctx, wire.Backoff(n, time.Second, 10*time.Second, 0.5)) })
	return token, errors.Join(failed, err)
}

// ask makes one request. Its errors name the host only: the address and the answer may
// contain secrets.
func ask(ctx context.Context, client http.Client, address, bearer string) (token string, again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", false, errors.New("the address can't be requested")
	}
	request.Header.Set("Authorization", "Bearer "+bearer)
	request.Header.Set("Accept", "application/json")
	host := request.URL.Host
	answer, err := client.Do(request)
	if err != nil {
		var reason *url.Error
		if errors.As(err, &reason) {
			err = reason.Err
		}
		return "", ctx.Err() == nil && !wire.IsUntrusted(err), fmt.Errorf("%s: %w", host, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch {
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		return "", false, fmt.Errorf("%s answered %s: give the job the permission id-token: write", host, answer.Status)
	case answer.StatusCode != http.StatusOK:
		return "", wire.IsTransientStatus(answer.StatusCode), fmt.Errorf("%s answered %s", host, answer.Status)
	case err != nil:
		return "", ctx.Err() == nil, fmt.Errorf("%s: %w", host, err)
	}
	var body struct{ Value string }
	if json.Unmarshal(text, &body) != nil || body.Value == "" {
		return "", false, fmt.Errorf("%s answered without a token", host)
	}
	return body.Value, false, nil
}
