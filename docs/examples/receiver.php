<?php
// A receiver in PHP, behind any web server; to try it: WEBHOOK_SECRET=... php -S 127.0.0.1:8080 receiver.php

const TOLERANCE_SECONDS = 300;
const BODY_MAX = 1_000_000;

function key_of(string $secret): string
{
    $key = str_starts_with($secret, 'whsec_') ? base64_decode(substr($secret, 6), true) : $secret;
    if ($key === false || $key === '') {
        throw new Exception('WEBHOOK_SECRET is not set, or is not base64 after whsec_');
    }
    return $key;
}

/** Returns whether the message was signed with the secret, just now. */
function is_verified(string $body, string $id, string $timestamp, string $signatures): bool
{
    // with a stop in the id, a part of a signed body could pass as the timestamp
    if (!preg_match('/^[A-Za-z0-9_-]{1,200}$/D', $id)) {
        return false;
    }
    if (!ctype_digit($timestamp) || abs(time() - (float) $timestamp) > TOLERANCE_SECONDS) {
        return false;
    }
    $key = key_of(getenv('WEBHOOK_SECRET') ?: '');
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    foreach (explode(' ', $signatures) as $given) {
        if (hash_equals($expected, $given)) {
            return true;
        }
    }
    return false;
}

$body = file_get_contents('php://input', length: BODY_MAX); // the bytes as received; of a longer body not all
$id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
$timestamp = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
if (!is_verified($body, $id, $timestamp, $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '')) {
    http_response_code(401);
    exit;
}
// store it here, unless its id is known; do what takes longer after the answer
error_log("$id $body");
