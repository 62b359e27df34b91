// Use a store with btcpay-greenfield-node-client. Print JSON.
// The arguments are the base address, the key and the store.
const { OpenAPI, InvoicesService, ServerInfoService, StoresService, WebhooksService, ApiKeysService } = require(
  "btcpay-greenfield-node-client",
);

const [base, key, storeId] = process.argv.slice(2);
OpenAPI.BASE = base;
OpenAPI.TOKEN = key;

async function main() {
  const order = { amount: "20.00", currency: "EUR", metadata: { orderId: "4714" } };
  const created = await InvoicesService.invoicesCreateInvoice({ storeId, requestBody: order });
  const one = { storeId, invoiceId: created.id };
  const url = "https://shop.example/node";
  const webhook = await WebhooksService.postWebhooksService({ storeId, requestBody: { url } });
  const found = {
    server: await ServerInfoService.serverInfoGetServerInfo(),
    key: await ApiKeysService.getApiKeysService(),
    stores: await StoresService.storesGetStores(),
    store: await StoresService.storesGetStore({ storeId }),
    created,
    read: await InvoicesService.invoicesGetInvoice(one),
    listed: await InvoicesService.invoicesGetInvoices({ storeId }),
    payments: await InvoicesService.invoicesGetInvoicePaymentMethods(one),
    marked: await InvoicesService.invoicesMarkInvoiceStatus({ ...one, requestBody: { status: "Invalid" } }),
    updated: await InvoicesService.invoicesUpdateInvoice({ ...one, requestBody: { metadata: { a: 1 } } }),
    webhook,
    webhooks: await WebhooksService.webhokksGetWebhooks({ storeId }),
    changed: await WebhooksService.putWebhooksService({
      storeId,
      webhookId: webhook.id,
      requestBody: { url: `${url}/2`, enabled: false },
    }),
  };
  await InvoicesService.invoicesArchiveInvoice(one);
  found.unarchived = await InvoicesService.invoicesUnarchiveInvoice(one);
  await WebhooksService.deleteWebhooksService({ storeId, webhookId: webhook.id });
  found.left = await WebhooksService.webhokksGetWebhooks({ storeId });
  try {
    await InvoicesService.invoicesCreateInvoice({ storeId, requestBody: { currency: "EUR" } });
  } catch (error) {
    found.refused = { status: error.status, body: error.body };
  }
  console.log(JSON.stringify(found));
}

main();
