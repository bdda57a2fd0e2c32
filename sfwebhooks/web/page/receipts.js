/* The receipts of scans: what the closing event says that an endpoint was sent, and was not. */

import { number } from "./app.js";

/** Return the columns of a receipt's numbers. */
export function receiptColumns(of) {
  const numbers = (row) => `${number(of(row).first_sequence)} to ${number(of(row).last_sequence)}`;
  return [
    { title: "Accepted", number: true, cell: (row) => number(of(row).accepted) },
    { title: "Numbers", number: true, cell: numbers },
    { title: "Withheld", number: true, cell: (row) => number(of(row).withheld) },
    { title: "Not wanted", number: true, cell: (row) => number(of(row).not_wanted) },
    { title: "Dead", number: true, cell: (row) => number(of(row).dead) },
  ];
}
