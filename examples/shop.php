<?php
// A shop that accepts bitcoin, with an order page and a webhook for payment events.
//
// NODETILL_URL=https://pay.example.com NODETILL_KEY=nt_... WEBHOOK_SECRET=whsec_... \
//     php -S 127.0.0.1:8000 examples/shop.php
//
// The shop needs only PHP 8, and stores its orders as files in shop-data. A real shop has a database.

const SHOP = 'Alpaca Direct', GOODS = 'Alpaca socks', PRICE = '135.99', CURRENCY = 'EUR';
const WORDS = [
    'new' => 'We are waiting for your payment.',
    'underpaid' => 'A part of the money is there. Please pay the rest.',
    'received' => 'Your payment is on its way.',
    'confirming' => 'Your payment is on its way.',
    'confirmed' => 'Paid. We are packing your socks!',
    'expired' => 'The price has expired. Please order again.',
    'partly' => 'A part of your money has arrived, but the price has expired. '
        . 'We are looking at it, so please do not pay again.',
    'late' => 'Your money has arrived late. We are looking at it, so please do not pay again.',
];
define('DATA', getenv('SHOP_DATA') ?: 'shop-data');
define('SECRET', (string) getenv('WEBHOOK_SECRET'));
@mkdir(DATA, 0700, true);

$method = $_SERVER['REQUEST_METHOD'];
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if (!preg_match('/^whsec_.{32}/', SECRET)) { // with an empty secret anybody could sign a webhook
    answer(500, 'WEBHOOK_SECRET is not set');
} elseif ("$method $path" === 'GET /') {
    show_goods();
} elseif ("$method $path" === 'POST /orders') {
    take_order(is_string($_POST['order'] ?? null) ? $_POST['order'] : '');
} elseif ($method === 'GET' && preg_match('{^/orders/([0-9a-f]{16})$}D', $path, $found)) {
    show_order($found[1]);
} elseif ("$method $path" === 'POST /webhook') {
    receive_webhook(file_get_contents('php://input'));
} else {
    answer(404, 'nothing here');
}

function answer(int $status, string $text): void
{
    http_response_code($status);
    echo $text;
}

// Show the page. The form already has the order's number, so a form sent twice is one order.
function show_goods(): void
{
    $order = bin2hex(random_bytes(8));
    answer(200, '<!DOCTYPE html><title>' . GOODS . '</title><h1>' . GOODS . ', ' . PRICE . ' ' . CURRENCY . '</h1>
<form method="post" action="/orders">
<input type="hidden" name="order" value="' . $order . '"><button>Pay with bitcoin</button></form>');
}

// Create the payment request, and redirect the customer to its checkout page.
function take_order(string $order): void
{
    if (!preg_match('/^[0-9a-f]{16}$/D', $order)) {
        answer(400, 'no such order');
        return;
    }
    $payment = request_payment($order);
    if (($payment['type'] ?? '') === 'urn:nodetill:problem:idempotency-key-expired') {
        answer(410, WORDS['expired']);
        return;
    }
    if (!isset($payment['checkout_url'])) {
        answer(503, "We can't take payments right now. Please try again in a minute.");
        return;
    }
    if ($file = @fopen(DATA . "/order-$order", 'x')) { // mode x only creates a new file
        fwrite($file, json_encode(['status' => state_of($payment), 'as_of' => '']));
    }
    header('Location: ' . $payment['checkout_url'], true, 303);
}

// Create and return the order's payment request, or a problem (RFC 9457), or null. The order's number is the
// idempotency key, so a repeated call returns the same payment request.
function request_payment(string $order): ?array
{
    $address = getenv('SHOP_URL') ?: 'http://' . $_SERVER['HTTP_HOST'];
    $body = [
        'amount_fiat' => PRICE,
        'currency' => CURRENCY,
        'label' => SHOP,
        'note' => GOODS . ", order $order",
        'metadata' => ['order' => $order],
        'redirect_url' => "$address/orders/$order",
    ];
    $headers = ['Authorization: Bearer ' . getenv('NODETILL_KEY'), 'Content-Type: application/json', "Idempotency-Key: $order"];
    $call = ['method' => 'POST', 'header' => $headers, 'content' => json_encode($body)];
    $call += ['timeout' => 10, 'ignore_errors' => true]; // also return the body of a problem
    $url = getenv('NODETILL_URL') . '/api/v1/payments';
    $text = @file_get_contents($url, false, stream_context_create(['http' => $call])); // false without an answer
    return $text === false ? null : json_decode($text, true);
}

// Return the key of WORDS for a payment request. A customer who has paid late must not pay again.
function state_of(array $payment): string
{
    if ($payment['status'] !== 'expired') {
        return $payment['status'];
    }
    return $payment['late'] ? 'late' : ($payment['received_sats'] ? 'partly' : 'expired');
}

function show_order(string $order): void
{
    $text = @file_get_contents(DATA . "/order-$order");
    $text === false ? answer(404, 'no such order') : answer(200, WORDS[json_decode($text)->status]);
}

// Store the status of an event. Refuse a webhook without a valid, fresh signature. Ignore repeats.
function receive_webhook(string $body): void
{
    $id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
    $time = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    if (!is_signed($id, $time, $body, $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '')) {
        answer(400, 'not signed by Nodetill');
        return;
    }
    http_response_code(204);
    if (file_exists(DATA . "/received-$id")) {
        return;
    }
    $event = json_decode($body, true);
    if ($event['type'] === 'test') { // the operator tries the webhook
        return;
    }
    $order = $event['data']['metadata']['order'] ?? '';
    $text = @file_get_contents(DATA . "/order-$order");
    // Events come in their order, except a failed event that the operator sends again.
    if ($text !== false && json_decode($text)->as_of <= $event['timestamp']) {
        $known = ['status' => state_of($event['data']), 'as_of' => $event['timestamp']];
        file_put_contents(DATA . "/order-$order", json_encode($known), LOCK_EX);
    }
    touch(DATA . "/received-$id"); // last, so that Nodetill sends the event again if this function is cut short
    error_log("order $order: {$event['type']}");
}

// Check a signature of Standard Webhooks, which is the HMAC-SHA256 of id, time and body. The header has several
// signatures while a secret is changed.
function is_signed(string $id, string $time, string $body, string $signatures): bool
{
    $secret = base64_decode(substr(SECRET, strlen('whsec_')));
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$time.$body", $secret, true));
    foreach (explode(' ', $signatures) as $signature) {
        if (hash_equals($expected, $signature)) {
            return abs(time() - (int) $time) <= 300;
        }
    }
    return false;
}
