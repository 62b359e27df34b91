<?php
// $headers = array_change_key_case(getallheaders()); $body = file_get_contents('php://input');
function is_signed(string $secret, array $headers, string $body): bool
{
    $id = $headers['webhook-id'] ?? '';
    $moment = $headers['webhook-timestamp'] ?? '';
    $key = base64_decode(substr($secret, strlen('whsec_')));
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$moment.$body", $key, true));
    $is_found = false;
    foreach (explode(' ', $headers['webhook-signature'] ?? '') as $signature) {
        $is_found = hash_equals($expected, $signature) || $is_found;
    }
    return $is_found && abs(time() - (int) $moment) < 300;
}
